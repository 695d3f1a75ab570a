//! What only NVIDIA's own tool says of a GPU: it comes with the driver.

use std::process::Command;

use llama_kernels::gpu::Device;

use super::record::Clocks;

/// The driver's version; `None` where the tool is missing.
pub fn driver() -> Option<String> {
    Some(query(&["--query-gpu=driver_version"])?.lines().next()?.trim().to_string())
}

/// The clocks at this moment; `None` where the tool is missing or does not know the device.
pub fn clocks(device: &Device) -> Option<Clocks> {
    const FIELDS: &str =
        "--query-gpu=clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu";
    let id = format!("--id={}", device.pci_bus_id().ok()?);
    parse_clocks(&query(&[FIELDS, &id])?)
}

fn parse_clocks(line: &str) -> Option<Clocks> {
    let mut fields = line.trim().split(',').map(str::trim);
    let mut megahertz = || fields.next()?.parse().ok();
    let (sm, memory, max_sm, max_memory) = (megahertz()?, megahertz()?, megahertz()?, megahertz()?);
    let mut number = || fields.next()?.parse().ok();
    Some(Clocks {
        sm,
        memory,
        max_sm,
        max_memory,
        power_limit_watts: number()?,
        temperature_celsius: number()?,
    })
}

fn query(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("nvidia-smi").args(arguments).arg("--format=csv,noheader,nounits").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_read_from_a_line() {
        let clocks = parse_clocks("1980, 3201, 1980, 3201, 700.00, 41\n").unwrap();
        let expected = Clocks {
            sm: 1980,
            memory: 3201,
            max_sm: 1980,
            max_memory: 3201,
            power_limit_watts: 700.0,
            temperature_celsius: 41.0,
        };
        assert_eq!(clocks, expected);
        assert_eq!(parse_clocks("1980, [N/A], 1980, 3201, 700.00, 41"), None);
        assert_eq!(parse_clocks(""), None);
    }
}
