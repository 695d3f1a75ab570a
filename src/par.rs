//! All cores behind the feature `rayon`, one core without it. Work is split by data alone and never by the number of
//! threads, so that results are the same bits on every machine.

#[cfg(feature = "rayon")]
use rayon::prelude::*;

/// How many threads the functions below run on.
pub(crate) fn threads() -> usize {
    #[cfg(feature = "rayon")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "rayon"))]
    return 1;
}

/// Calls `f(i, chunk)` for each chunk of `size` elements; the last may be shorter. A single chunk stays on the calling
/// thread: waking another one costs more than a small operation takes.
pub(crate) fn chunks<T: Send>(data: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync + Send) {
    if data.len() <= size {
        if !data.is_empty() {
            f(0, data);
        }
        return;
    }
    #[cfg(feature = "rayon")]
    data.par_chunks_mut(size).enumerate().for_each(|(i, chunk)| f(i, chunk));
    #[cfg(not(feature = "rayon"))]
    data.chunks_mut(size).enumerate().for_each(|(i, chunk)| f(i, chunk));
}

/// [`chunks`] over two slices side by side, each with a chunk size of its own.
pub(crate) fn zip_chunks<T: Send, U: Send>(
    (a, size_a): (&mut [T], usize),
    (b, size_b): (&mut [U], usize),
    f: impl Fn(usize, &mut [T], &mut [U]) + Sync + Send,
) {
    #[cfg(feature = "rayon")]
    a.par_chunks_mut(size_a).zip(b.par_chunks_mut(size_b)).enumerate().for_each(|(i, (a, b))| f(i, a, b));
    #[cfg(not(feature = "rayon"))]
    a.chunks_mut(size_a).zip(b.chunks_mut(size_b)).enumerate().for_each(|(i, (a, b))| f(i, a, b));
}

/// `f(0), f(1), … f(n - 1)`.
pub(crate) fn map<R: Send>(n: usize, f: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    if n <= 1 {
        return (0..n).map(f).collect();
    }
    #[cfg(feature = "rayon")]
    return (0..n).into_par_iter().map(f).collect();
    #[cfg(not(feature = "rayon"))]
    return (0..n).map(f).collect();
}
