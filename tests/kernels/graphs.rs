//! Recorded work, and copies that the host does not wait for.

use llama_kernels::Error;
use llama_kernels::device::DeviceChoice;
use llama_kernels::gpu::{Buffer, Device, Staging, Stream, TensorMut, TensorRef};
use llama_kernels::ops::{self, Embed};
use llama_kernels::plan::Kernel;
use llama_kernels::tensor::{DType, Tensor};

use super::device;

const VOCAB: usize = 8;
const HIDDEN: usize = 64;

/// Rows of a table by ids that the host may change.
struct Lookup {
    ids: Tensor<Buffer>,
    table: Tensor<Buffer>,
    out: Tensor<Buffer>,
}

impl Lookup {
    fn new(device: &Device, tokens: usize) -> Self {
        let tensor = |dtype: DType, shape: &[usize]| {
            let bytes = shape.iter().product::<usize>() * dtype.size();
            let mut buffer = device.allocate(bytes).unwrap();
            buffer.fill(0..bytes, 0).unwrap();
            Tensor::new(buffer, dtype, shape).unwrap()
        };
        let mut table = tensor(DType::BF16, &[VOCAB, HIDDEN]);
        for row in 0..VOCAB {
            let bytes = HIDDEN * 2;
            table.view_mut().buffer.fill(row * bytes..(row + 1) * bytes, row as u8 + 1).unwrap();
        }
        Lookup { ids: tensor(DType::I32, &[tokens]), table, out: tensor(DType::BF16, &[tokens, HIDDEN]) }
    }

    fn launch(&mut self, stream: &Stream) -> llama_kernels::Result<()> {
        let args = Embed {
            ids: TensorRef::new(self.ids.view())?,
            table: TensorRef::new(self.table.view())?,
            out: TensorMut::new(self.out.view_mut())?,
            error: None,
        };
        ops::embed(stream, &args)
    }

    fn set_ids(&mut self, ids: &[i32]) {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        self.ids.view_mut().buffer.write(0, &bytes).unwrap();
    }

    /// The byte that fills each row of the output.
    fn rows(&self, stream: &Stream) -> Vec<u8> {
        let mut bytes = vec![0; self.out.num_bytes()];
        stream.read(self.out.view().buffer, 0, &mut bytes).unwrap();
        bytes
            .chunks(HIDDEN * 2)
            .map(|row| row.iter().all(|b| *b == row[0]).then_some(row[0]).unwrap())
            .collect()
    }
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn a_graph_replays_what_was_recorded_on_what_memory_holds_then() {
    let device = device::chosen();
    device.load(&[Kernel::EmbedB16]).unwrap();
    let (stream, other) = (device.new_stream().unwrap(), device.new_stream().unwrap());
    let mut lookup = Lookup::new(&device, 3);
    let mut copy = device.allocate(HIDDEN * 2).unwrap();
    let graph = stream
        .capture(|stream| {
            lookup.launch(stream)?;
            // The second row, then half of it overwritten.
            stream.copy(&mut copy, 0, lookup.out.view().buffer, HIDDEN * 2, HIDDEN * 2)?;
            stream.fill(&mut copy, 0, HIDDEN, 0xAB)
        })
        .unwrap();
    assert_eq!((graph.launches(), device.launches()), (1, 0), "nothing has run yet");
    assert_eq!(lookup.rows(&stream), [0, 0, 0]);
    for (replays, (stream, ids)) in
        [(&stream, [1, 2, 3]), (&other, [7, 0, 7]), (&stream, [4, 5, 6])].into_iter().enumerate()
    {
        lookup.set_ids(&ids);
        // SAFETY: the memory lives until the reads below, which wait.
        unsafe { graph.launch(stream) }.unwrap();
        assert_eq!(device.launches(), replays as u64 + 1);
        assert_eq!(lookup.rows(stream), ids.map(|id| id as u8 + 1));
        let mut bytes = vec![0; HIDDEN * 2];
        copy.read(0, &mut bytes).unwrap();
        let expected = [[0xAB; HIDDEN], [ids[1] as u8 + 1; HIDDEN]].concat();
        assert_eq!(bytes, expected);
    }
}

/// A graph within a graph launches what both recorded.
#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn graphs_nest() {
    let device = device::chosen();
    device.load(&[Kernel::EmbedB16]).unwrap();
    let stream = device.new_stream().unwrap();
    let mut lookup = Lookup::new(&device, 2);
    lookup.set_ids(&[3, 1]);
    let inner = stream.capture(|stream| lookup.launch(stream)).unwrap();
    let outer = stream
        .capture(|stream| {
            // SAFETY: the memory outlives both graphs' launches.
            unsafe { inner.launch(stream) }?;
            lookup.launch(stream)
        })
        .unwrap();
    assert_eq!((inner.launches(), outer.launches(), device.launches()), (1, 2, 0));
    // SAFETY: as above.
    unsafe { outer.launch(&stream) }.unwrap();
    assert_eq!((lookup.rows(&stream), device.launches()), (vec![4, 2], 2));
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn an_error_ends_the_recording() {
    let device = device::chosen();
    device.load(&[Kernel::EmbedB16]).unwrap();
    let stream = device.new_stream().unwrap();
    let mut lookup = Lookup::new(&device, 1);
    lookup.set_ids(&[5]);
    let error = stream.capture(|stream| {
        lookup.launch(stream)?;
        Err(Error::unsupported("this step", "it is a test"))
    });
    assert_eq!(error.unwrap_err().to_string(), "this step is not supported: it is a test");
    let panic =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stream.capture(|_| panic!("a bug"))));
    assert!(panic.is_err());
    // The stream carries out what it is given, and records again.
    lookup.launch(&stream).unwrap();
    assert_eq!((lookup.rows(&stream), device.launches()), (vec![6], 1));
    assert_eq!(stream.capture(|stream| lookup.launch(stream)).unwrap().launches(), 1);
}

#[test]
#[cfg_attr(not(kernels_built), ignore = "the CUDA kernels were not built: there is no nvcc")]
fn what_would_break_a_recording_off_is_refused() {
    let device = device::chosen();
    device.load(&[Kernel::EmbedB16]).unwrap();
    let stream = device.new_stream().unwrap();
    let mut buffer = device.allocate(64).unwrap();
    let mut staging = Staging::new(&device, 64).unwrap();
    let host = [1u8; 8];
    let refusals = std::cell::RefCell::new(Vec::new());
    stream
        .capture(|stream| {
            let refuse = |result: llama_kernels::Result<()>| {
                refusals.borrow_mut().push(result.unwrap_err().to_string());
            };
            refuse(stream.synchronize());
            refuse(device.synchronize());
            refuse(device.allocate(8).map(drop));
            refuse(buffer.write(0, &host));
            refuse(buffer.read(0, &mut [0; 8]));
            refuse(buffer.fill(0..8, 1));
            refuse(stream.read(&buffer, 0, &mut [0; 8]));
            refuse(staging.write(stream, &mut buffer, 0, &host));
            refuse(Staging::new(&device, 8).map(drop));
            refuse(device.load(&[Kernel::RmsNormF16]));
            // SAFETY: nothing is copied.
            refuse(unsafe { stream.write(&mut buffer, 0, &host) });
            refuse(stream.capture(|_| Ok(())).map(drop));
            Ok(())
        })
        .unwrap();
    let refusals = refusals.into_inner();
    let expected = [
        "waiting for a stream while this thread captures a graph is not supported: it would wait for the device; do it before",
        "waiting for a device while",
        "allocating memory while",
        "writing memory while",
        "reading memory while",
        "filling memory while",
        "reading memory while",
        "a copy from the host while",
        "allocating host memory while",
        "loading rms_norm_f16 while",
        "write: stream: expected one that records no graph",
        "capture: stream: expected a stream that records nothing, got one that records a graph already",
    ];
    assert_eq!(refusals.len(), expected.len());
    for (refusal, expected) in refusals.iter().zip(expected) {
        assert!(refusal.starts_with(expected), "{refusal}");
    }
    // Afterwards all of it is allowed.
    stream.synchronize().unwrap();
    device.load(&[Kernel::RmsNormF16]).unwrap();
    staging.write(&stream, &mut buffer, 8, &host).unwrap();
    let mut bytes = [0; 8];
    stream.read(&buffer, 8, &mut bytes).unwrap();
    assert_eq!(bytes, host);
}

#[test]
fn a_graph_stays_on_its_device() {
    let sim = || Device::open(DeviceChoice::SIM).unwrap();
    let (one, two) = (sim(), sim());
    let graph = one.new_stream().unwrap().capture(|_| Ok(())).unwrap();
    // SAFETY: nothing was recorded.
    let error = unsafe { graph.launch(&two.new_stream().unwrap()) }.unwrap_err().to_string();
    assert_eq!(
        error,
        "launch: stream: expected a stream of Device(\"simulated GPU 8.0\"), got Stream of Device(\"simulated GPU 8.0\")"
    );
    let mut foreign = two.allocate(8).unwrap();
    let stream = one.new_stream().unwrap();
    let error = Staging::new(&one, 8).unwrap().write(&stream, &mut foreign, 0, &[1]).unwrap_err().to_string();
    assert!(error.starts_with("write: to: expected memory of"), "{error}");
}

#[test]
fn staged_bytes_arrive_in_order_whatever_their_number() {
    let device = device::chosen();
    let stream = device.new_stream().unwrap();
    let mut staging = Staging::new(&device, 100).unwrap();
    let bytes: Vec<u8> = (0..1234u32).map(|i| (i * 31 % 251) as u8).collect();
    let mut buffer = device.allocate(1300).unwrap();
    stream.fill(&mut buffer, 0, 1300, 0xEE).unwrap();
    let mut expected = vec![0xEE; 1300];
    for (offset, len) in [(0, 1234), (3, 1), (50, 0), (40, 100), (60, 201), (1100, 200)] {
        // The bytes are the caller's again at once.
        let mut mine = bytes[..len].to_vec();
        staging.write(&stream, &mut buffer, offset, &mine).unwrap();
        mine.fill(0);
        expected[offset..offset + len].copy_from_slice(&bytes[..len]);
    }
    // Bit by bit, across the ends of both halves.
    let mut upload = staging.begin(&stream, &mut buffer, 7);
    for piece in [70, 0, 65, 129] {
        upload.append(piece, |done, out| (0..out.len()).for_each(|i| out[i] = (done + i) as u8)).unwrap();
    }
    upload.finish().unwrap();
    let appended = [70, 65, 129].into_iter().flat_map(|n| (0..n).map(|i| i as u8));
    expected.splice(7..7 + 264, appended);
    let mut read = vec![0; 1300];
    stream.read(&buffer, 0, &mut read).unwrap();
    assert!(read == expected);

    let error = staging.write(&stream, &mut buffer, 1299, &[1, 2]).unwrap_err().to_string();
    assert_eq!(error, "write: bytes: expected a part of 1300 bytes, got 2 bytes at 1299");
    let error = Staging::new(&device, 0).unwrap_err().to_string();
    assert_eq!(error, "staging: bytes: expected at least 1, got 0");
}
