//! The state of one mbarrier object: its counts and its phase (PTX ISA, "Contents of the mbarrier object", "Phase
//! completion of the mbarrier object").

use std::fmt;

/// What each count is at most; the tx-count may also be as far below zero.
pub(super) const MAX_COUNT: u32 = (1 << 20) - 1;

/// An operation that the state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misuse {
    /// `init` with a count out of range.
    Count(u32),
    /// An arrival with a count out of range.
    ArrivalCount(u32),
    /// More arrivals than the phase waits for.
    TooManyArrivals { arriving: u32, pending: u32, bytes: i32 },
    /// `arrive_drop` of more than take part.
    TooManyDropped { dropped: u32, expected: u32 },
    /// More than can be counted.
    TooManyPending,
    /// The tx-count leaves its range.
    Transactions { before: i32, change: i64 },
    /// `noComplete`, but it is the last arrival.
    Completes,
    /// A state of a phase before the preceding one.
    OldState { phase: u64, current: u64 },
    /// A value that no `arrive` on this mbarrier has returned.
    ForeignState,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => {
                write!(
                    f,
                    "an mbarrier is initialised with a count of {count}, which is not within 1 to {MAX_COUNT}"
                )
            }
            Self::ArrivalCount(count) => {
                write!(f, "an arrival with a count of {count}, which is not within 1 to {MAX_COUNT}")
            }
            Self::TooManyArrivals { arriving, pending: 0, bytes } => write!(
                f,
                "{arriving} arrivals more at an mbarrier at which all have arrived, but whose phase still waits for {bytes} bytes: \
                 the next phase has not begun"
            ),
            Self::TooManyArrivals { arriving, pending, .. } => {
                write!(f, "{arriving} arrivals at an mbarrier whose phase waits for {pending} more")
            }
            Self::TooManyDropped { dropped, expected } => {
                write!(
                    f,
                    "{dropped} arrivals are dropped of an mbarrier that expects {expected} in each phase"
                )
            }
            Self::TooManyPending => write!(f, "an mbarrier is to wait for more than {MAX_COUNT} arrivals"),
            Self::Transactions { before, change } => write!(
                f,
                "the tx-count of an mbarrier goes from {before} to {}, which is not within -{MAX_COUNT} to {MAX_COUNT}",
                i64::from(*before) + change
            ),
            Self::Completes => write!(f, "an arrival with .noComplete completes the phase of the mbarrier"),
            Self::OldState { phase, current } => write!(
                f,
                "a wait for phase {phase} of an mbarrier that is in phase {current}: only the current phase and the \
                 one before can be waited for"
            ),
            Self::ForeignState => {
                write!(f, "a wait with a state that no arrive on this mbarrier has returned")
            }
        }
    }
}

/// The counts of an mbarrier object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    /// How many phases are complete.
    number: u64,
    /// Arrivals that each phase waits for.
    expected: u32,
    /// Arrivals that this phase still waits for.
    pending: u32,
    /// The tx-count: bytes that this phase still waits for.
    transactions: i32,
}

impl Phase {
    /// `mbarrier.init`.
    pub fn new(count: u32) -> Result<Self, Misuse> {
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(Misuse::Count(count));
        }
        Ok(Self { number: 0, expected: count, pending: count, transactions: 0 })
    }

    /// How many phases are complete.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// An arrive-on operation. Follow it by [`Self::settle`].
    pub fn arrive(&mut self, count: u32) -> Result<(), Misuse> {
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(Misuse::ArrivalCount(count));
        }
        let (pending, bytes) = (self.pending, self.transactions);
        let too_many = Misuse::TooManyArrivals { arriving: count, pending, bytes };
        self.pending = self.pending.checked_sub(count).ok_or(too_many)?;
        Ok(())
    }

    /// Later phases wait for fewer arrivals: the first part of `arrive_drop`.
    pub fn drop_expected(&mut self, count: u32) -> Result<(), Misuse> {
        let too_many = Misuse::TooManyDropped { dropped: count, expected: self.expected };
        self.expected = self.expected.checked_sub(count).ok_or(too_many)?;
        Ok(())
    }

    /// This phase waits for one arrival more: of `cp.async.mbarrier.arrive` without `.noinc`.
    pub fn raise(&mut self) -> Result<(), Misuse> {
        if self.pending >= MAX_COUNT {
            return Err(Misuse::TooManyPending);
        }
        self.pending += 1;
        Ok(())
    }

    /// An expect-tx operation. Follow it by [`Self::settle`].
    pub fn expect(&mut self, bytes: u32) -> Result<(), Misuse> {
        self.change_transactions(i64::from(bytes))
    }

    /// A complete-tx operation. Follow it by [`Self::settle`].
    pub fn complete(&mut self, bytes: u32) -> Result<(), Misuse> {
        self.change_transactions(-i64::from(bytes))
    }

    fn change_transactions(&mut self, change: i64) -> Result<(), Misuse> {
        let before = self.transactions;
        let limit = i64::from(MAX_COUNT);
        let after = i64::from(before) + change;
        match i32::try_from(after) {
            Ok(after) if (-limit..=limit).contains(&i64::from(after)) => {
                self.transactions = after;
                Ok(())
            }
            _ => Err(Misuse::Transactions { before, change }),
        }
    }

    /// Whether nothing is missing for this phase.
    pub fn is_complete(&self) -> bool {
        self.pending == 0 && self.transactions == 0
    }

    /// Begins the next phase where this one is complete, and says whether it was.
    pub fn settle(&mut self) -> bool {
        let complete = self.is_complete();
        if complete {
            self.number += 1;
            self.pending = self.expected;
        }
        complete
    }

    /// The state that an arrival at an mbarrier at `address` returns, taken before it arrives.
    pub fn state(&self, address: u64, no_complete: bool) -> u64 {
        let phase = self.number & PHASES;
        phase << PHASE_SHIFT
            | u64::from(no_complete) << NO_COMPLETE_SHIFT
            | place(address) << PLACE_SHIFT
            | u64::from(self.pending)
    }

    /// The phase that a state was returned in by an arrival at this mbarrier, and whether it is complete.
    pub fn of_state(&self, state: u64, address: u64) -> Result<(u64, bool), Misuse> {
        if state >> PLACE_SHIFT & PLACES != place(address) {
            return Err(Misuse::ForeignState);
        }
        let age = self.number.wrapping_sub(state >> PHASE_SHIFT) & PHASES;
        let phase = self.number.checked_sub(age).ok_or(Misuse::ForeignState)?;
        match age {
            0 | 1 => Ok((phase, age == 1)),
            _ => Err(Misuse::OldState { phase, current: self.number }),
        }
    }

    /// Whether the phase of a parity is complete: it is the preceding one, not the current one.
    pub fn has_completed_parity(&self, parity: u32) -> bool {
        self.number & 1 != u64::from(parity & 1)
    }

    /// What is missing for this phase.
    pub fn describe(&self) -> String {
        let Self { number, expected, pending, transactions } = self;
        let bytes = match transactions {
            0 => String::new(),
            1.. => format!(" and {transactions} bytes"),
            _ => format!(" and the announcement of {} bytes that have come", transactions.unsigned_abs()),
        };
        format!("phase {number} waits for {pending} of {expected} arrivals{bytes}")
    }
}

/// A state, as an arrival returns it: the phase's number (28 bits), whether it comes of `.noComplete` (1 bit), where the
/// mbarrier lies (15 bits), pending arrivals (20 bits).
const PLACE_SHIFT: u32 = 20;
const NO_COMPLETE_SHIFT: u32 = 35;
const PHASE_SHIFT: u32 = 36;
const PLACES: u64 = (1 << (NO_COMPLETE_SHIFT - PLACE_SHIFT)) - 1;
const PHASES: u64 = (1 << (64 - PHASE_SHIFT)) - 1;

fn place(address: u64) -> u64 {
    (address / 8) & PLACES
}

/// `mbarrier.pending_count`: the pending arrivals of a state that an arrival with `.noComplete` has returned.
pub(super) fn pending_count(state: u64) -> Option<u32> {
    (state >> NO_COMPLETE_SHIFT & 1 != 0).then_some(state as u32 & MAX_COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: u64 = 0x440;

    fn phase(count: u32) -> Phase {
        Phase::new(count).expect("a count within range")
    }

    #[test]
    fn counts_of_init() {
        assert_eq!(Phase::new(0), Err(Misuse::Count(0)));
        assert_eq!(Phase::new(MAX_COUNT + 1), Err(Misuse::Count(MAX_COUNT + 1)));
        assert!(Phase::new(1).is_ok() && Phase::new(MAX_COUNT).is_ok());
    }

    #[test]
    fn a_phase_completes_with_its_last_arrival() {
        let mut phase = phase(3);
        for expected in [false, false, true, false, false, true] {
            assert_eq!(phase.arrive(1), Ok(()));
            assert_eq!(phase.settle(), expected);
        }
        assert_eq!(phase.number(), 2);
        assert_eq!(phase.arrive(2), Ok(()));
        assert_eq!(phase.arrive(2), Err(Misuse::TooManyArrivals { arriving: 2, pending: 1, bytes: 0 }));
        assert_eq!(phase.arrive(0), Err(Misuse::ArrivalCount(0)));
    }

    #[test]
    fn bytes_hold_a_phase_back() {
        let mut phase = phase(1);
        assert_eq!(phase.expect(100), Ok(()));
        assert_eq!(phase.arrive(1), Ok(()));
        assert!(!phase.settle());
        assert_eq!(phase.complete(60), Ok(()));
        assert!(!phase.settle());
        assert_eq!(phase.complete(40), Ok(()));
        assert!(phase.settle());
        // Bytes may come before they are announced.
        assert_eq!(phase.complete(8), Ok(()));
        assert!(!phase.settle());
        assert_eq!(phase.expect(8).and_then(|()| phase.arrive(1)), Ok(()));
        assert!(phase.settle());
        assert_eq!(phase.number(), 2);
    }

    #[test]
    fn the_transaction_count_has_bounds() {
        let mut phase = phase(1);
        assert_eq!(phase.expect(MAX_COUNT), Ok(()));
        assert_eq!(phase.expect(1), Err(Misuse::Transactions { before: MAX_COUNT as i32, change: 1 }));
        assert_eq!(phase.complete(MAX_COUNT).and_then(|()| phase.complete(MAX_COUNT)), Ok(()));
        assert_eq!(
            phase.complete(u32::MAX),
            Err(Misuse::Transactions { before: -(MAX_COUNT as i32), change: -i64::from(u32::MAX) })
        );
    }

    #[test]
    fn who_drops_out_is_missing_from_the_next_phase_on() {
        let mut phase = phase(2);
        assert_eq!(phase.drop_expected(1).and_then(|()| phase.arrive(1)), Ok(()));
        assert!(!phase.settle());
        assert_eq!(phase.arrive(1), Ok(()));
        assert!(phase.settle());
        assert_eq!(phase.arrive(1), Ok(()));
        assert!(phase.settle());
        assert_eq!(phase.drop_expected(2), Err(Misuse::TooManyDropped { dropped: 2, expected: 1 }));
        // The last one may go, too: nobody can arrive any more.
        assert_eq!(phase.drop_expected(1).and_then(|()| phase.arrive(1)), Ok(()));
        assert!(phase.settle());
        assert_eq!(phase.arrive(1), Err(Misuse::TooManyArrivals { arriving: 1, pending: 0, bytes: 0 }));
    }

    #[test]
    fn an_arrival_more() {
        let mut phase = phase(1);
        assert_eq!(phase.raise().and_then(|()| phase.arrive(1)), Ok(()));
        assert!(!phase.settle());
        assert_eq!(phase.arrive(1), Ok(()));
        assert!(phase.settle());
        assert_eq!(Phase::new(MAX_COUNT).and_then(|mut phase| phase.raise()), Err(Misuse::TooManyPending));
    }

    #[test]
    fn states_name_the_current_or_the_preceding_phase() {
        let mut phase = phase(1);
        let first = phase.state(PLACE, false);
        assert_eq!(phase.of_state(first, PLACE), Ok((0, false)));
        for number in 1..5 {
            assert_eq!(phase.arrive(1), Ok(()));
            assert!(phase.settle());
            if number == 1 {
                assert_eq!(phase.of_state(first, PLACE), Ok((0, true)));
            } else {
                let old = Misuse::OldState { phase: 0, current: number };
                assert_eq!(phase.of_state(first, PLACE), Err(old));
            }
        }
        assert_eq!(phase.of_state(phase.state(PLACE + 8, false), PLACE), Err(Misuse::ForeignState));
        assert_eq!(phase.of_state(0, PLACE), Err(Misuse::ForeignState));
        assert_eq!(phase.of_state(u64::MAX, PLACE), Err(Misuse::ForeignState));
    }

    #[test]
    fn states_tell_pending_arrivals() {
        let mut phase = phase(MAX_COUNT);
        assert_eq!(pending_count(phase.state(PLACE, true)), Some(MAX_COUNT));
        assert_eq!(phase.arrive(5), Ok(()));
        assert_eq!(pending_count(phase.state(PLACE, true)), Some(MAX_COUNT - 5));
        assert_eq!(pending_count(phase.state(PLACE, false)), None);
    }

    #[test]
    fn parities_alternate() {
        let mut phase = phase(1);
        for number in 0..4u32 {
            assert!(!phase.has_completed_parity(number % 2));
            assert!(phase.has_completed_parity(1 - number % 2));
            assert_eq!(phase.arrive(1), Ok(()));
            assert!(phase.settle());
        }
    }
}
