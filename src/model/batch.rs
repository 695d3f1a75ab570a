//! A ragged batch: what a step of the forward pass computes, as the flat arrays that the operations read.

use crate::backend::{MAX_DECODE_TOKENS, StepBounds};
use crate::model::kv_cache::{PageTable, SequenceId};
use crate::{Error, Result};

/// Whose logits a sequence wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Logits {
    /// Of none of its tokens: a chunk of a prompt that goes on.
    None,
    /// Of its last token.
    Last,
    /// Of every token.
    All,
}

/// What one sequence brings to a step: its next tokens.
#[derive(Clone, Copy, Debug)]
pub struct SequenceInput<'a> {
    /// The sequence.
    pub sequence: SequenceId,
    /// Its next tokens, at least one.
    pub tokens: &'a [u32],
    /// Whose logits are wanted.
    pub logits: Logits,
}

/// The most that a step may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub max_tokens: usize,
    pub max_logits: usize,
    pub vocab_size: usize,
    pub context: usize,
}

/// The arrays of one step, decodes before prefills.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// `[T]` token ids.
    pub ids: Vec<i32>,
    /// `[T]` positions within the sequences.
    pub positions: Vec<i32>,
    /// `[T]` slots of the cache.
    pub slots: Vec<i64>,
    /// `[batch + 1]` where each sequence's tokens begin.
    pub q_indptr: Vec<i32>,
    /// `[batch]` tokens in the cache after this step.
    pub kv_len: Vec<i32>,
    /// `[batch, max_kv_len / page_size]` pages; -1 behind the last one.
    pub page_table: Vec<i32>,
    /// `[R]` tokens whose logits are wanted, in the order of the caller's sequences.
    pub logits: Vec<i32>,
    /// Sizes for grids and workspaces.
    pub bounds: StepBounds,
}

impl Batch {
    /// Checks the inputs, reserves their pages, and lays the arrays out. On an error nothing has changed.
    pub fn new(inputs: &[SequenceInput<'_>], table: &mut PageTable, limits: &Limits) -> Result<Self> {
        check(inputs, table, limits)?;
        let wanted: Vec<_> = inputs.iter().map(|i| (i.sequence, i.tokens.len())).collect();
        table.reserve(&wanted)?;

        // Stable: the caller's order holds among the decodes and among the prefills.
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by_key(|&i| inputs[i].tokens.len() > MAX_DECODE_TOKENS);

        let mut batch = Batch { q_indptr: vec![0], ..Batch::default() };
        let mut first_token = vec![0; inputs.len()];
        for &i in &order {
            let SequenceInput { sequence, tokens, .. } = inputs[i];
            let cached = table.len(sequence)?;
            first_token[i] = batch.ids.len();
            for (j, &token) in tokens.iter().enumerate() {
                batch.ids.push(token as i32);
                batch.positions.push((cached + j) as i32);
                batch.slots.push(table.slot(sequence, cached + j)?);
            }
            batch.q_indptr.push(batch.ids.len() as i32);
            batch.kv_len.push((cached + tokens.len()) as i32);
        }

        let most_pages = (batch.kv_len.iter().max().map_or(0, |&n| n as usize)).div_ceil(table.page_size());
        // A power of two, so that a sequence that grows changes the bounds (and a recorded step with them) seldom.
        let width = most_pages.next_power_of_two();
        for &i in &order {
            let pages = table.pages(inputs[i].sequence)?;
            batch.page_table.extend((0..width).map(|p| pages.get(p).copied().unwrap_or(-1)));
        }
        for (input, first) in inputs.iter().zip(&first_token) {
            let (first, n) = (*first as i32, input.tokens.len() as i32);
            match input.logits {
                Logits::None => {}
                Logits::Last => batch.logits.push(first + n - 1),
                Logits::All => batch.logits.extend(first..first + n),
            }
        }
        batch.bounds = StepBounds {
            num_tokens: batch.ids.len(),
            batch: inputs.len(),
            num_decodes: inputs.iter().filter(|i| i.tokens.len() <= MAX_DECODE_TOKENS).count(),
            max_q_len: inputs.iter().map(|i| i.tokens.len()).max().unwrap_or(0),
            max_kv_len: width * table.page_size(),
            num_logits: batch.logits.len(),
        };
        Ok(batch)
    }

    /// Whether the wanted logits are those of all tokens in order, so that nothing has to be gathered.
    pub fn wants_all_tokens_in_order(&self) -> bool {
        self.logits.len() == self.ids.len() && self.logits.iter().enumerate().all(|(i, &row)| row == i as i32)
    }
}

fn check(inputs: &[SequenceInput<'_>], table: &PageTable, limits: &Limits) -> Result<()> {
    let error = |arg, expected: String, given: String| Err(Error::argument("forward", arg, expected, given));
    let num_tokens: usize = inputs.iter().map(|i| i.tokens.len()).sum();
    if num_tokens > limits.max_tokens {
        return error("tokens", format!("at most {} a step", limits.max_tokens), num_tokens.to_string());
    }
    let num_logits: usize = inputs
        .iter()
        .map(|i| match i.logits {
            Logits::None => 0,
            Logits::Last => 1,
            Logits::All => i.tokens.len(),
        })
        .sum();
    if num_logits > limits.max_logits {
        return error("logits", format!("at most {} rows a step", limits.max_logits), num_logits.to_string());
    }
    let mut slots = vec![false; table.max_sequences()];
    for input in inputs {
        let len = table.len(input.sequence)?;
        if std::mem::replace(&mut slots[input.sequence.slot()], true) {
            return error("sequence", "each once a step".into(), format!("{:?} twice", input.sequence));
        }
        if input.tokens.is_empty() {
            return error("tokens", "at least 1 a sequence".into(), "0".into());
        }
        if let Some(id) = input.tokens.iter().find(|&&id| id as usize >= limits.vocab_size) {
            return error("tokens", format!("ids below {}", limits.vocab_size), id.to_string());
        }
        let tokens = len + input.tokens.len();
        if tokens > limits.context {
            return Err(Error::ContextTooLong { tokens, context: limits.context });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_tokens: 64, max_logits: 32, vocab_size: 100, context: 60 };

    fn table(lens: &[usize]) -> (PageTable, Vec<SequenceId>) {
        let mut table = PageTable::new(8, 16, 4).unwrap();
        let ids: Vec<_> = lens.iter().map(|_| table.add().unwrap()).collect();
        for (&id, &len) in ids.iter().zip(lens) {
            table.reserve(&[(id, len)]).unwrap();
            table.advance(id, len).unwrap();
        }
        (table, ids)
    }

    fn input<'a>(sequence: SequenceId, tokens: &'a [u32], logits: Logits) -> SequenceInput<'a> {
        SequenceInput { sequence, tokens, logits }
    }

    #[test]
    fn decodes_come_first_and_logits_in_the_callers_order() {
        let (mut table, ids) = table(&[0, 20]);
        let prompt: Vec<u32> = (0..10).collect();
        let inputs = [input(ids[0], &prompt, Logits::Last), input(ids[1], &[7], Logits::Last)];
        let batch = Batch::new(&inputs, &mut table, &LIMITS).unwrap();
        assert_eq!(batch.ids, [7, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(batch.positions, [20, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(batch.q_indptr, [0, 1, 11]);
        assert_eq!(batch.kv_len, [21, 10]);
        assert_eq!(batch.page_table, [0, 1, 2, -1], "sequence 1 holds pages 0 and 1");
        assert_eq!(batch.slots[..3], [20, 32, 33]);
        assert_eq!(batch.logits, [10, 0]);
        assert!(!batch.wants_all_tokens_in_order());
        let bounds = StepBounds {
            num_tokens: 11,
            batch: 2,
            num_decodes: 1,
            max_q_len: 10,
            max_kv_len: 32,
            num_logits: 2,
        };
        assert_eq!(batch.bounds, bounds);
    }

    #[test]
    fn an_empty_batch_is_a_batch() {
        let (mut table, _) = table(&[]);
        let batch = Batch::new(&[], &mut table, &LIMITS).unwrap();
        assert_eq!((batch.q_indptr, batch.bounds.num_tokens), (vec![0], 0));
    }

    #[test]
    fn bad_inputs_are_refused_and_reserve_nothing() {
        let (mut table, ids) = table(&[50, 0]);
        let (many, eleven, one) = (vec![1; 65], vec![1; 11], vec![1; 1]);
        let all = vec![1; 33];
        let cases: [(Vec<SequenceInput<'_>>, &str); 6] = [
            (vec![input(ids[1], &many, Logits::None)], "forward: tokens: expected at most 64 a step, got 65"),
            (
                vec![input(ids[1], &all, Logits::All)],
                "forward: logits: expected at most 32 rows a step, got 33",
            ),
            (
                vec![input(ids[1], &[], Logits::None)],
                "forward: tokens: expected at least 1 a sequence, got 0",
            ),
            (vec![input(ids[1], &[100], Logits::None)], "forward: tokens: expected ids below 100, got 100"),
            (
                vec![input(ids[0], &eleven, Logits::None)],
                "61 tokens do not fit the model's context of 60 tokens",
            ),
            (
                vec![input(ids[1], &one, Logits::None), input(ids[1], &one, Logits::None)],
                "forward: sequence: expected each once a step",
            ),
        ];
        let free = table.free_pages();
        for (inputs, message) in cases {
            let error = Batch::new(&inputs, &mut table, &LIMITS).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
            assert_eq!(table.free_pages(), free);
        }
    }
}
