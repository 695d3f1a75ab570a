//! Records, each run's apart: a run describes what follows it in its file.

use crate::cli::record::{Ceilings, Check, Counters, Kernel, Peers, Record, Row, Run, Step};

/// What one run found out.
#[derive(Default)]
pub struct Results<'a> {
    /// `None` where a file begins without one.
    pub run: Option<&'a Run>,
    pub ceilings: Vec<&'a Ceilings>,
    pub rows: Vec<&'a Row>,
    pub kernels: Vec<&'a Kernel>,
    pub steps: Vec<&'a Step>,
    pub counters: Vec<&'a Counters>,
    pub checks: Vec<&'a Check>,
    pub peers: Vec<&'a Peers>,
    /// Times that the file has of a simulated GPU, which has no clock: they are not shown.
    pub impossible: usize,
}

/// The runs of all files, one file after the other.
pub fn of_files(files: &[Vec<Record>]) -> Vec<Results<'_>> {
    let mut all: Vec<Results<'_>> = Vec::new();
    for records in files {
        for (i, record) in records.iter().enumerate() {
            if i == 0 || matches!(record, Record::Run(_)) {
                all.push(Results::default());
            }
            if let Some(results) = all.last_mut() {
                results.add(record);
            }
        }
    }
    all
}

impl<'a> Results<'a> {
    fn add(&mut self, record: &'a Record) {
        let timed =
            matches!(record, Record::Ceilings(_) | Record::Kernel(_) | Record::Step(_) | Record::Peers(_));
        if timed && self.is_simulated() {
            self.impossible += 1;
            return;
        }
        match record {
            Record::Run(run) => self.run = Some(run),
            Record::Ceilings(ceilings) => self.ceilings.push(ceilings),
            Record::Row(row) => self.rows.push(row),
            Record::Kernel(kernel) => self.kernels.push(kernel),
            Record::Step(step) => self.steps.push(step),
            Record::Counters(counters) => self.counters.push(counters),
            Record::Check(check) => self.checks.push(check),
            Record::Peers(peers) => self.peers.push(peers),
        }
    }

    pub fn is_simulated(&self) -> bool {
        self.run.is_some_and(|run| run.device.simulated)
    }

    /// Whether something in it was timed.
    pub fn is_timed(&self) -> bool {
        !(self.ceilings.is_empty()
            && self.kernels.is_empty()
            && self.steps.is_empty()
            && self.peers.is_empty())
    }

    /// `bench on NVIDIA H200`
    pub fn title(&self) -> String {
        match self.run {
            Some(run) => format!("{} on {}", run.command, run.device.name),
            None => "Results of a run that is not described".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::record::Device;

    fn run(command: &str, simulated: bool) -> Record {
        let device = Device { simulated, ..Device::default() };
        Record::Run(Run { command: command.into(), device, ..Run::default() })
    }

    #[test]
    fn a_run_describes_what_follows_in_its_file() {
        let kernel = || Record::Kernel(Kernel::default());
        let files = [
            vec![
                run("bench", false),
                kernel(),
                kernel(),
                run("check", false),
                Record::Check(Check::default()),
            ],
            vec![kernel()],
            vec![],
        ];
        let runs = of_files(&files);
        let found: Vec<_> = runs
            .iter()
            .map(|results| {
                (results.run.map(|run| run.command.as_str()), results.kernels.len(), results.checks.len())
            })
            .collect();
        assert_eq!(found, [(Some("bench"), 2, 0), (Some("check"), 0, 1), (None, 1, 0)]);
    }

    #[test]
    fn a_simulated_gpu_has_no_times() {
        let timed = [
            Record::Kernel(Kernel::default()),
            Record::Step(Step::default()),
            Record::Peers(Peers::default()),
            Record::Ceilings(Ceilings::default()),
        ];
        let counted = Record::Counters(Counters::default());
        let files = [[vec![run("bench", true), counted], timed.to_vec()].concat()];
        let runs = of_files(&files);
        assert_eq!((runs[0].impossible, runs[0].is_timed(), runs[0].counters.len()), (4, false, 1));
    }
}
