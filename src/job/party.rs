//! Parties: the coordinators whose jobs share the queue of a server. The number of a job there has the party
//! in its upper bits, so that all jobs in a pool have different numbers.

use super::call::FIRST_CALL;

/// The bits below the party.
const BITS: u32 = 40;

/// A server has fewer parties at a time. With this many, request ids are exact in JavaScript as well.
pub(crate) const MOST_PARTIES: u64 = 1 << 12;

/// No job of a party has a higher number.
pub(crate) const LAST_OF_PARTY: u64 = (1 << BITS) - 1;

/// The party of a job with this number. All jobs of a run without a server have the same.
pub(crate) fn party_of(seq: u64) -> u64 {
    seq >> BITS
}

/// The number in a pool of a party's job with this number.
pub(crate) fn with_party(party: u64, seq: u64) -> u64 {
    party << BITS | seq
}

/// The number that a party has given to its job.
pub(crate) fn without_party(seq: u64) -> u64 {
    if seq < FIRST_CALL { seq & LAST_OF_PARTY } else { seq }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_its_party_and_its_own_part() {
        for (party, seq) in [(0, 1), (7, LAST_OF_PARTY), (MOST_PARTIES - 1, 3)] {
            let number = with_party(party, seq);
            assert!(number < 1 << 53);
            assert_eq!((party_of(number), without_party(number)), (party, seq));
        }
        assert_eq!(without_party(FIRST_CALL + 5), FIRST_CALL + 5);
        assert_eq!(party_of(FIRST_CALL), party_of(FIRST_CALL + LAST_OF_PARTY));
    }
}
