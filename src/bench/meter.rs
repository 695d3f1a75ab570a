//! The time of an operation on a GPU.
//!
//! A call is recorded several times into one graph, each time on operands of its own, so that no call finds its inputs in L2
//! and the launch of the graph is shared by all of them. Before each replay L2 is emptied by reading other memory: writing
//! would leave lines behind whose way to memory the calls would wait for. Events stand on both sides of the graph; what lies
//! between them, over the number of calls, is one sample. The gap between a kernel and the next one is part of it, as in a
//! real step of decoding; [`Ceilings`](super::Ceilings) tells how much an empty kernel takes in the same place.

use std::time::{Duration, Instant};

use super::{Call, Memory, Work};
use crate::gpu::{Buffer, Device, Event, Graph, Stream, TensorMut, TensorRef};
use crate::ops;
use crate::plan;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// What a replay lasts at least, where calls are short and there is room for their operands: a thousand times what the
/// start of a graph takes.
const REPLAY_MICROSECONDS: f64 = 2000.0;
/// Most calls in a graph. Of calls of 2 microseconds they last 128, in which the start of the graph and the half microsecond
/// that an event is exact to are 1 or 2%.
const MOST_CALLS: usize = 64;
/// Most bytes of the operands of all calls together.
const MOST_BYTES: u64 = 16 << 30;
/// Preparing operands ends after so long, with as many calls as there are then.
const PREPARING: Duration = Duration::from_millis(400);
/// Replays before those that count: clocks rise, and the driver brings the graph to the device.
const WARM_UP: Duration = Duration::from_millis(30);
const LEAST_WARM_UPS: usize = 3;
/// Replays that count go on so long, their L2 flushes included, within these numbers.
const MEASURING: Duration = Duration::from_millis(120);
const REPLAYS: [usize; 2] = [5, 100];
/// Least bytes that are read to empty L2: also in so many microseconds as the host needs to queue a large graph behind them,
/// 110 on an H200, so that no event waits for the host.
const LEAST_FLUSH_BYTES: usize = 512 << 20;
/// Elements of the f32 that the flush reads, in a vector.
const VECTOR_WORDS: usize = 4;

/// What was measured of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// The median.
    pub microseconds: f64,
    /// The 10th percentile.
    pub low: f64,
    /// The 90th percentile.
    pub high: f64,
    /// Calls in a graph, each on operands of its own.
    pub calls: usize,
    /// Replays of the graph.
    pub replays: usize,
}

impl Timing {
    /// Of the microseconds of one call, as each replay of a graph of `calls` calls has them; zeros of none.
    pub fn of(mut samples: Vec<f64>, calls: usize) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * samples.len().saturating_sub(1) as f64;
            samples.get(place.round() as usize).copied().unwrap_or_default()
        };
        Timing { microseconds: at(0.5), low: at(0.1), high: at(0.9), calls, replays: samples.len() }
    }
}

/// Calls that are carried out together, as a graph. Their operands live as long as it.
pub struct Prepared {
    /// The recording, and how often memory of the device had been freed when it was made. Declared first, so that it goes
    /// before the memory that it uses.
    graph: Option<(Graph, u64)>,
    calls: Vec<Call>,
}

impl Prepared {
    /// Carries each call out once, which loads its kernels. What it does must not depend on how often it has been called, and
    /// it must neither allocate, free nor wait for memory of the device. [`Error::Argument`] without a call; and a call's own
    /// errors.
    pub fn new(stream: &Stream, mut calls: Vec<Call>) -> Result<Self> {
        if calls.is_empty() {
            return Err(Error::argument("bench", "calls", "at least one", "none"));
        }
        calls.iter_mut().try_for_each(|call| call(stream))?;
        stream.synchronize()?;
        Ok(Prepared { graph: None, calls })
    }

    /// How many calls one replay carries out.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Queues all calls, by one launch of their graph, which the first time is recorded.
    pub fn launch(&mut self, stream: &Stream) -> Result<()> {
        let graph = self.recording(stream)?;
        // SAFETY: the recording uses memory of the calls, which live, and of whatever they borrow: buffers that were there
        // when it was made. Since then none of this device has been freed, and what frees one later waits for what is queued
        // here. Nobody else uses what a call writes: the calls are queued in this stream alone, in their order.
        unsafe { graph.launch(stream) }
    }

    /// The graph, recorded unless there is one that was made since memory of the device was last freed.
    fn recording(&mut self, stream: &Stream) -> Result<&Graph> {
        let (device, freed) = (stream.device(), stream.device().freed());
        let is_valid = |(graph, at): &(Graph, u64)| *at == freed && graph.device().id() == device.id();
        let recorded = match self.graph.take().filter(is_valid) {
            Some(recorded) => recorded,
            None => {
                let calls = &mut self.calls;
                (stream.capture(|stream| calls.iter_mut().try_for_each(|call| call(stream)))?, freed)
            }
        };
        if device.freed() != freed {
            let expected = "calls that free no memory of the device";
            return Err(Error::argument("bench", "calls", expected, "one that does"));
        }
        Ok(&self.graph.insert(recorded).0)
    }

    /// The calls without their recording.
    fn into_calls(self) -> Vec<Call> {
        self.calls
    }
}

/// Times operations on a device.
pub struct Meter {
    stream: Stream,
    memory: Memory,
    flush: Flush,
    start: Event,
    end: Event,
}

impl Meter {
    /// On this device; [`Error::Unsupported`](crate::Error::Unsupported) on a simulated GPU, which has no clock.
    pub fn new(device: &Device) -> Result<Self> {
        let (start, end) = (device.new_event()?, device.new_event()?);
        let (l2, _) = device.memory_system()?;
        let mut memory = Memory::new(device)?;
        let flush = Flush::new(&mut memory, flush_bytes(l2))?;
        Ok(Meter { stream: device.new_stream()?, memory, flush, start, end })
    }

    /// Where calls are queued.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Where operands come from.
    pub fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Times one call of an operation from cold memory. [`Error::OutOfMemory`] where there is no room for one set of operands.
    pub fn time(&mut self, work: &dyn Work, dtype: DType) -> Result<Timing> {
        let mut prepared = self.prepare(work, dtype)?;
        self.time_prepared(&mut prepared)
    }

    /// Times calls that are launched one after the other; the time is of one of them. Each has operands of its own, or the
    /// later ones find in L2 what the earlier ones have read. For their conditions and errors: [`Prepared::new`].
    pub fn time_calls(&mut self, calls: Vec<Call>) -> Result<Timing> {
        let mut prepared = Prepared::new(&self.stream, calls)?;
        self.time_prepared(&mut prepared)
    }

    /// As many calls of an operation as make a replay long enough and as there is room for, each on operands of its own.
    pub fn prepare(&mut self, work: &dyn Work, dtype: DType) -> Result<Prepared> {
        let free = self.stream.device().memory_bytes()?.free;
        let before = self.memory.allocated_bytes();
        let call = work.prepare(dtype, &mut self.memory)?;
        let bytes = self.memory.allocated_bytes() - before;
        let mut one = Prepared::new(&self.stream, vec![call])?;
        let mut microseconds = f64::INFINITY;
        for _ in 0..LEAST_WARM_UPS {
            microseconds = microseconds.min(self.replay(&mut one)?);
        }
        let mut calls = one.into_calls();
        let wanted = number_of_calls(microseconds, bytes, free);
        more_calls(work, dtype, &mut self.memory, wanted, PREPARING, &mut calls)?;
        Prepared::new(&self.stream, calls)
    }

    /// Times what has been prepared, over many replays.
    pub fn time_prepared(&mut self, prepared: &mut Prepared) -> Result<Timing> {
        let started = Instant::now();
        let mut warm_ups = 0;
        let mut replay = Duration::MAX;
        while warm_ups < LEAST_WARM_UPS || started.elapsed() < WARM_UP {
            let before = Instant::now();
            self.replay(prepared)?;
            replay = replay.min(before.elapsed());
            warm_ups += 1;
        }
        let replays = number_of_replays(replay);
        let samples = (0..replays).map(|_| self.replay(prepared)).collect::<Result<Vec<f64>>>()?;
        Ok(Timing::of(samples, prepared.calls()))
    }

    /// Empties L2, carries the calls out once, waits, and gives the microseconds of one of them.
    pub fn replay(&mut self, prepared: &mut Prepared) -> Result<f64> {
        // Not between the events: a recording takes the host milliseconds.
        prepared.recording(&self.stream)?;
        self.flush.launch(&self.stream)?;
        self.start.record(&self.stream)?;
        prepared.launch(&self.stream)?;
        self.end.record(&self.stream)?;
        self.stream.synchronize()?;
        Ok(self.start.microseconds_to(&self.end)? / prepared.calls() as f64)
    }
}

/// Prepares operands until there are so many calls, or the time or the memory is at its end.
fn more_calls(
    work: &dyn Work,
    dtype: DType,
    memory: &mut Memory,
    wanted: usize,
    time: Duration,
    calls: &mut Vec<Call>,
) -> Result<()> {
    let started = Instant::now();
    while calls.len() < wanted && started.elapsed() < time {
        match work.prepare(dtype, memory) {
            Ok(call) => calls.push(call),
            // Somebody else's programs allocate too.
            Err(Error::OutOfMemory { .. }) if !calls.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How many calls make up a graph: of calls that last so long and have so many bytes of operands each, on a device with so
/// many bytes free before the first of them. Half of these may be used, so that a model or another program still fits.
fn number_of_calls(microseconds: f64, bytes: u64, free: u64) -> usize {
    let by_time = (REPLAY_MICROSECONDS / microseconds).ceil();
    // Also where the time is 0 or not a number.
    let by_time = if by_time < MOST_CALLS as f64 { by_time as usize } else { MOST_CALLS };
    let room = (free / 2).min(MOST_BYTES);
    let by_room = room.checked_div(bytes).map_or(MOST_CALLS, |calls| calls.min(MOST_CALLS as u64) as usize);
    by_time.min(by_room).max(1)
}

/// How many replays count, where one lasts so long.
fn number_of_replays(replay: Duration) -> usize {
    let [least, most] = REPLAYS;
    let replays = MEASURING.as_nanos() / replay.as_nanos().max(1);
    usize::try_from(replays).unwrap_or(most).clamp(least, most)
}

/// Bytes that are read to empty an L2 of so many: four times as many, since the replacement is not exactly that of the line
/// that was used longest ago.
fn flush_bytes(l2: usize) -> usize {
    l2.saturating_mul(4).max(LEAST_FLUSH_BYTES)
}

/// Memory that is read to empty L2.
struct Flush {
    source: Tensor<Buffer>,
    out: Tensor<Buffer>,
}

impl Flush {
    fn new(memory: &mut Memory, bytes: usize) -> Result<Self> {
        let vectors = bytes / (VECTOR_WORDS * DType::F32.size());
        let blocks = plan::ceiling_read(vectors, usize::MAX)?.map_or(0, |plan| plan.launch.grid[0]);
        let source = memory.random(DType::F32, &[vectors * VECTOR_WORDS])?;
        Ok(Flush { source, out: memory.output(DType::U32, &[blocks as usize])? })
    }

    fn launch(&mut self, stream: &Stream) -> Result<()> {
        let out = TensorMut::new(self.out.view_mut())?;
        ops::ceiling_read(stream, &TensorRef::new(self.source.view())?, &out, usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_calls_are_many_and_long_ones_few() {
        const FREE: u64 = 140 << 30;
        let calls = |microseconds, bytes| number_of_calls(microseconds, bytes, FREE);
        assert_eq!(calls(2.0, 1 << 20), 64);
        assert_eq!(calls(100.0, 1 << 20), 20);
        assert_eq!(calls(700.0, 1 << 20), 3);
        assert_eq!(calls(1999.0, 1 << 20), 2);
        assert_eq!(calls(2000.0, 1 << 20), 1);
        assert_eq!(calls(50_000.0, 1 << 20), 1);
        // 16 GiB of operands.
        assert_eq!(calls(10.0, 1 << 30), 16);
        assert_eq!(calls(10.0, 3 << 30), 5);
        assert_eq!(calls(10.0, 60 << 30), 1);
        // Half of what is free.
        assert_eq!(number_of_calls(10.0, 1 << 30, 9 << 30), 4);
        assert_eq!(number_of_calls(10.0, 1 << 30, 0), 1);
        // No operands, and a clock that did not move.
        assert_eq!(calls(1.0, 0), 64);
        assert_eq!(calls(0.0, 1), 64);
        assert_eq!(calls(f64::NAN, 1), 64);
        assert_eq!(calls(f64::INFINITY, 1), 1);
    }

    #[test]
    fn replays_take_a_bounded_time() {
        let replays = |microseconds| number_of_replays(Duration::from_micros(microseconds));
        assert_eq!(replays(0), 100);
        assert_eq!(replays(300), 100);
        assert_eq!(replays(2_400), 50);
        assert_eq!(replays(12_000), 10);
        assert_eq!(replays(1_000_000), 5);
        assert_eq!(number_of_replays(Duration::MAX), 5);
    }

    #[test]
    fn more_is_read_than_any_l2_holds() {
        // Unknown, an H200's, an L40S's, and one that there is not yet.
        assert_eq!(flush_bytes(0), 512 << 20);
        assert_eq!(flush_bytes(60 << 20), 512 << 20);
        assert_eq!(flush_bytes(96 << 20), 512 << 20);
        assert_eq!(flush_bytes(200 << 20), 800 << 20);
    }

    #[test]
    fn a_timing_is_the_median_and_its_percentiles() {
        let samples = (0..=10).rev().map(f64::from).collect();
        let expected = Timing { microseconds: 5.0, low: 1.0, high: 9.0, calls: 3, replays: 11 };
        assert_eq!(Timing::of(samples, 3), expected);
        assert_eq!(Timing::of(Vec::new(), 1), Timing { calls: 1, ..Timing::default() });
    }

    #[cfg(feature = "sim")]
    mod simulated {
        use std::cell::RefCell;
        use std::rc::Rc;

        use super::super::*;
        use crate::bench::{CeilingRead, SiluAndMul};
        use crate::device::DeviceChoice;

        const WORDS: usize = 4096;

        fn device() -> Device {
            Device::open(DeviceChoice::SIM).unwrap()
        }

        #[test]
        fn has_no_clock() {
            assert!(matches!(Meter::new(&device()), Err(Error::Unsupported { .. })));
        }

        /// Copies of which each has a source and an output of its own.
        struct Copies(Vec<[Rc<RefCell<Tensor<Buffer>>>; 2]>);

        impl Copies {
            /// The sources are full of 1, of 2 and so on.
            fn new(device: &Device, count: u8) -> Self {
                let tensor = |byte| {
                    let mut buffer = device.allocate(4 * WORDS).unwrap();
                    buffer.fill(0..4 * WORDS, byte).unwrap();
                    Rc::new(RefCell::new(Tensor::new(buffer, DType::F32, &[WORDS]).unwrap()))
                };
                Copies((1..=count).map(|byte| [tensor(byte), tensor(0)]).collect())
            }

            fn calls(&self) -> Vec<Call> {
                let call = |[source, out]: &[Rc<RefCell<Tensor<Buffer>>>; 2]| -> Call {
                    let (source, out) = (Rc::clone(source), Rc::clone(out));
                    Box::new(move |stream| {
                        let (source, mut out) = (source.borrow(), out.borrow_mut());
                        let out = TensorMut::new(out.view_mut())?;
                        ops::ceiling_copy(stream, &TensorRef::new(source.view())?, &out, usize::MAX)
                    })
                };
                self.0.iter().map(call).collect()
            }

            /// The byte that each output is full of; they are zeroed.
            fn take_outputs(&self) -> Vec<u8> {
                let take = |[_, out]: &[Rc<RefCell<Tensor<Buffer>>>; 2]| {
                    let mut bytes = vec![0; 4 * WORDS];
                    let mut out = out.borrow_mut();
                    out.view().buffer.read(0, &mut bytes).unwrap();
                    out.view_mut().buffer.fill(0..4 * WORDS, 0).unwrap();
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]));
                    bytes[0]
                };
                self.0.iter().map(take).collect()
            }
        }

        #[test]
        #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
        fn a_replay_carries_out_every_call_on_its_own_operands() {
            let device = device();
            let stream = device.new_stream().unwrap();
            let copies = Copies::new(&device, 3);
            let mut prepared = Prepared::new(&stream, copies.calls()).unwrap();
            assert_eq!((prepared.calls(), device.launches()), (3, 3));
            assert_eq!(copies.take_outputs(), [1, 2, 3]);
            for replay in 1..=2 {
                prepared.launch(&stream).unwrap();
                stream.synchronize().unwrap();
                assert_eq!(device.launches(), 3 + 3 * replay);
                assert_eq!(copies.take_outputs(), [1, 2, 3]);
            }
        }

        #[test]
        #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
        fn calls_are_recorded_anew_where_memory_has_been_freed() {
            let device = device();
            let stream = device.new_stream().unwrap();
            let copies = Copies::new(&device, 1);
            let recordings = Rc::new(RefCell::new(0));
            let (counted, mut call) = (Rc::clone(&recordings), copies.calls().remove(0));
            let call: Call = Box::new(move |stream| {
                *counted.borrow_mut() += 1;
                call(stream)
            });
            let mut prepared = Prepared::new(&stream, vec![call]).unwrap();
            let mut launch = || {
                prepared.launch(&stream).unwrap();
                stream.synchronize().unwrap();
                *recordings.borrow()
            };
            // The first call is no recording.
            assert_eq!((launch(), launch()), (2, 2));
            drop(device.allocate(16).unwrap());
            assert_eq!((launch(), launch()), (3, 3));
            assert_eq!(copies.take_outputs(), [1]);
        }

        #[test]
        #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
        fn calls_that_free_memory_and_none_at_all_are_refused() {
            let device = device();
            let stream = device.new_stream().unwrap();
            let refused = |result: Result<()>| result.unwrap_err().to_string();
            assert_eq!(
                refused(Prepared::new(&stream, Vec::new()).map(drop)),
                "bench: calls: expected at least one, got none"
            );
            let mut buffers = vec![device.allocate(16).unwrap(), device.allocate(16).unwrap()];
            let frees: Call = Box::new(move |_| {
                buffers.pop();
                Ok(())
            });
            let mut prepared = Prepared::new(&stream, vec![frees]).unwrap();
            assert_eq!(
                refused(prepared.launch(&stream)),
                "bench: calls: expected calls that free no memory of the device, got one that does"
            );
            assert_eq!(device.launches(), 0);
        }

        #[test]
        #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
        fn every_call_has_operands_of_its_own() {
            let device = device();
            let mut memory = Memory::new(&device).unwrap();
            let work = SiluAndMul { tokens: 3, intermediate: 64 };
            let mut calls = Vec::new();
            let mut more = |wanted, time| {
                more_calls(&work, DType::BF16, &mut memory, wanted, time, &mut calls).unwrap();
                (calls.len(), memory.allocated_bytes())
            };
            let set = 2 * 3 * 64 * 3;
            // gate, up and out.
            assert_eq!(more(4, Duration::MAX), (4, 4 * set));
            // As many as there are, and no time.
            assert_eq!(more(4, Duration::MAX), (4, 4 * set));
            assert_eq!(more(6, Duration::ZERO), (4, 4 * set));
            assert_eq!(more(6, Duration::MAX), (6, 6 * set));
        }

        #[test]
        fn operands_without_room_end_the_preparation_but_for_the_first() {
            let device = device();
            let mut memory = Memory::new(&device).unwrap();
            struct Full;
            impl Work for Full {
                fn op(&self) -> &'static str {
                    "full"
                }
                fn sizes(&self) -> Vec<(&'static str, usize)> {
                    Vec::new()
                }
                fn cost(&self) -> crate::cost::Cost {
                    crate::cost::Cost::default()
                }
                fn plans(&self, _: DType, _: &plan::Limits) -> Result<Vec<plan::Plan>> {
                    Ok(Vec::new())
                }
                fn prepare(&self, _: DType, _: &mut Memory) -> Result<Call> {
                    Err(Error::OutOfMemory { bytes: 7 })
                }
            }
            let mut calls: Vec<Call> = Vec::new();
            let first = more_calls(&Full, DType::BF16, &mut memory, 2, Duration::MAX, &mut calls);
            assert!(matches!(first, Err(Error::OutOfMemory { bytes: 7 })));
            calls.push(Box::new(|_| Ok(())));
            more_calls(&Full, DType::BF16, &mut memory, 2, Duration::MAX, &mut calls).unwrap();
            assert_eq!(calls.len(), 1);
        }

        #[test]
        #[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
        fn the_flush_reads_all_of_its_memory() {
            let device = device();
            let stream = device.new_stream().unwrap();
            let mut memory = Memory::new(&device).unwrap();
            let bytes = 1 << 20;
            Flush::new(&mut memory, bytes).unwrap().launch(&stream).unwrap();
            let report = stream.reports().unwrap().unwrap().remove(0);
            assert_eq!(report.counters.global_read.unique_bytes, bytes as u64);
            let work = CeilingRead { vectors: bytes / 16, most_blocks: usize::MAX };
            assert_eq!(report.counters.global_written.unique_bytes, work.cost().written);
        }
    }
}
