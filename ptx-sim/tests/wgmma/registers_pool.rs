//! `setmaxnreg`: registers that warps hand to each other.

use ptx_sim::{ComputeCapability, Device, DeviceProperties, Error, LaunchConfig, Violation, ViolationKind};

/// Runs a kernel of two warpgroups, the first a producer: what goes wrong.
fn run(
    directives: &str,
    producer: &str,
    consumer: &str,
    registers: Option<u32>,
) -> Result<(), Box<Violation>> {
    let ptx = format!(
        ".version 8.8\n.target sm_90a\n.address_size 64\n.visible .entry kernel() {directives} {{\n\
         .reg .b32 %r<4>;\n.reg .pred %p;\nmov.u32 %r0, %tid.x;\nsetp.ge.u32 %p, %r0, 128;\n@%p bra CONSUMER;\n\
         {producer}\nret;\nCONSUMER:\n{consumer}\nret;\n}}\n"
    );
    for seed in 0..4 {
        let device = Device::new(DeviceProperties::of(ComputeCapability::Sm90));
        let mut options = ptx_sim::RunOptions::default();
        options.seed = seed;
        device.set_options(options);
        let kernel =
            device.load_module(&ptx).and_then(|module| module.kernel("kernel")).expect("it is supported");
        let stream = device.create_stream();
        let mut config = LaunchConfig::new([2, 1, 1], [256, 1, 1]);
        if let Some(registers) = registers {
            config = config.registers_per_thread(registers);
        }
        stream.launch(&kernel, &config, &[]).expect("a valid launch");
        match stream.synchronize() {
            Ok(_) => {}
            Err(Error::Violation(violation)) => return Err(violation),
            Err(error) => panic!("{error}"),
        }
    }
    Ok(())
}

fn dec(count: u32) -> String {
    format!("setmaxnreg.dec.sync.aligned.u32 {count};")
}

fn inc(count: u32) -> String {
    format!("setmaxnreg.inc.sync.aligned.u32 {count};")
}

#[test]
fn consumers_take_what_producers_give() {
    run(".maxnreg 128", &dec(24), &inc(232), None).unwrap();
    run("", &dec(24), &inc(232), Some(128)).unwrap();
    // Twice a block of 256 threads: 128 each.
    run(".maxntid 256 .minnctapersm 2", &dec(40), &inc(216), None).unwrap();
    // In any number of steps.
    run(".maxnreg 128", &format!("{}\n{}", dec(64), dec(24)), &format!("{}\n{}", inc(192), inc(232)), None)
        .unwrap();
    // Without anything known, as the assembler says, it has no effect.
    run("", &inc(256), &dec(24), None).unwrap();
}

#[test]
fn more_than_the_pool_has_is_a_deadlock() {
    for (directives, producer, consumer) in [
        (".maxnreg 128", dec(32), inc(232)),
        (".maxntid 256 .minnctapersm 2", dec(24), inc(240)),
        (".maxnreg 96", String::new(), inc(104)),
    ] {
        let violation = run(directives, &producer, &consumer, None).unwrap_err();
        assert_eq!(violation.kind, ViolationKind::Deadlock, "{violation}");
        assert!(violation.message.contains("the pool of setmaxnreg has"), "{violation}");
    }
}

#[test]
fn counts_in_the_wrong_direction() {
    for (producer, consumer) in [(inc(64), dec(64)), (dec(136), inc(136))] {
        let violation = run(".maxnreg 128", &producer, &consumer, None).unwrap_err();
        assert_eq!(violation.kind, ViolationKind::InvalidOperand, "{violation}");
        assert!(violation.message.contains("128 are expected"), "{violation}");
    }
}

#[test]
fn counts_out_of_range_are_refused() {
    for count in ["16", "264", "100", "%r0"] {
        let ptx = format!(
            ".version 8.8\n.target sm_90a\n.address_size 64\n.visible .entry kernel() {{\n.reg .b32 %r<4>;\n\
             setmaxnreg.dec.sync.aligned.u32 {count};\nret;\n}}\n"
        );
        let device = Device::new(DeviceProperties::of(ComputeCapability::Sm90));
        let loaded = device.load_module(&ptx).and_then(|module| module.kernel("kernel"));
        let Err(error) = loaded else { panic!("{count} was not refused") };
        assert!(error.to_string().contains("setmaxnreg"), "{error}");
    }
}
