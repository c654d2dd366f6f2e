//! The queue of everything that will happen: a timing wheel, so that an entry costs the same whether a thousand or
//! ten million others wait.

use std::collections::BTreeMap;

/// Milliseconds of virtual time; 49 days fit.
pub type Ms = u32;

/// Entries come out by time, and those of one millisecond in the order in which they went in: a run can be
/// repeated.
#[derive(Debug)]
pub struct Wheel<E> {
    now: Ms,
    /// How many entries of the present millisecond have come out.
    taken: usize,
    /// One slot for each millisecond of the present turn.
    slots: Vec<Vec<E>>,
    /// What happens in later turns.
    later: BTreeMap<Ms, Vec<(Ms, E)>>,
}

const TURN_BITS: u32 = 15;
const TURN: usize = 1 << TURN_BITS;
/// A slot that once held more than this gives its memory back.
const KEEP: usize = 64;

impl<E: Copy> Default for Wheel<E> {
    fn default() -> Self {
        Self {
            now: 0,
            taken: 0,
            slots: (0..TURN).map(|_| Vec::new()).collect(),
            later: BTreeMap::new(),
        }
    }
}

impl<E: Copy> Wheel<E> {
    /// Puts an entry in; what is past happens now.
    pub fn push(&mut self, at: Ms, entry: E) {
        let at = at.max(self.now);
        if at >> TURN_BITS == self.now >> TURN_BITS {
            self.slots[at as usize % TURN].push(entry);
        } else {
            self.later
                .entry(at >> TURN_BITS)
                .or_default()
                .push((at, entry));
        }
    }

    /// The entries of the present millisecond that have not come out yet.
    pub fn ahead(&self) -> &[E] {
        let slot = &self.slots[self.now as usize % TURN];
        slot.get(self.taken..).unwrap_or_default()
    }

    /// The next entry before `end`, and its time.
    pub fn pop(&mut self, end: Ms) -> Option<(Ms, E)> {
        while self.now < end {
            let slot = &mut self.slots[self.now as usize % TURN];
            if let Some(&entry) = slot.get(self.taken) {
                self.taken += 1;
                return Some((self.now, entry));
            }
            slot.clear();
            slot.shrink_to(KEEP);
            self.taken = 0;
            self.now += 1;
            if (self.now as usize).is_multiple_of(TURN) {
                for (at, entry) in self
                    .later
                    .remove(&(self.now >> TURN_BITS))
                    .unwrap_or_default()
                {
                    self.slots[at as usize % TURN].push(entry);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Wheel;

    #[test]
    fn entries_come_out_by_time_and_then_in_the_order_they_went_in() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut wheel = Wheel::default();
        let mut expected = Vec::new();
        for n in 0..10_000_u32 {
            let at = rng.u32(0..200_000);
            wheel.push(at, n);
            expected.push((at, n));
        }
        expected.sort_unstable();
        let mut found = Vec::new();
        while let Some((at, n)) = wheel.pop(1_000_000) {
            found.push((at, n));
            if n == 17 {
                // What is put in for a time that has passed happens now.
                wheel.push(0, 10_000);
                expected.push((at, 10_000));
            }
        }
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
