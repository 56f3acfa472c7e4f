//! Large messages that wait are summed together with one that leaves. Their checksums take longer than all else that is done for them, and
//! several take little longer than one where the processor does them side by side; but large frames leave one by one, as answers come.

use std::sync::Arc;

use super::batches::{Batches, SequencedBatch};
use crate::limits::CLIENT_OWN_FRAME_BYTES;
use crate::wire::checksum::{self, Checksum};

/// A frame of one large message, out of the queue while it is summed.
#[derive(Debug)]
pub(in crate::client) struct DetachedFrame {
    number: u64,
    pub(in crate::client) name: Arc<str>,
    pub(in crate::client) frame: Vec<u8>,
    pub(in crate::client) checksum: Option<Checksum>,
}

/// What is out of the queue. Only who may cut frames lends any, and gives all back before it cuts again.
#[derive(Debug, Default)]
pub(in crate::client) struct DetachedFrames {
    pub(in crate::client) lent: Vec<DetachedFrame>,
}

impl DetachedFrames {
    /// Takes frames out of the queue that are worth summing with what leaves: none longer than that, which would wait for it.
    pub(super) fn lend(&mut self, state: &mut Batches, cuts: &[SequencedBatch], lanes: usize) {
        let unsummed = || cuts.iter().filter(|cut| cut.batch.checksum.is_none());
        let longest = unsummed().map(|cut| cut.batch.frame.len()).max().unwrap_or(0);
        if longest < CLIENT_OWN_FRAME_BYTES {
            return;
        }
        let leaving = unsummed().count();
        let waiting = state.queue.iter_mut().filter(|batch| {
            batch.is_alone() && batch.checksum.is_none() && batch.frame.len() <= longest
        });
        for batch in waiting.take(lanes.saturating_sub(leaving)) {
            let (name, frame) = (Arc::clone(&batch.name), std::mem::take(&mut batch.frame));
            self.lent.push(DetachedFrame { number: batch.number, name, frame, checksum: None });
        }
        // They would be summed one after the other, and what leaves would wait for them.
        if leaving + self.lent.len() < checksum::LANES_WORTH {
            self.give_back(state);
        }
    }

    /// Gives the frames back; whether some had gone from the queue meanwhile, whose room is free now.
    pub(super) fn give_back(&mut self, state: &mut Batches) -> bool {
        let mut any_gone = false;
        for lent in self.lent.drain(..) {
            match state.find(lent.number) {
                Some(at) => {
                    let batch = &mut state.queue[at];
                    (batch.frame, batch.checksum) = (lent.frame, lent.checksum);
                }
                None => {
                    state.queued_bytes = state.queued_bytes.saturating_sub(lent.frame.len());
                    any_gone = true;
                }
            }
        }
        any_gone
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::client::publish::batches::Bounds;
    use crate::wire::checksum::LANES_WORTH;

    const LARGE: usize = CLIENT_OWN_FRAME_BYTES;
    const LANES: usize = 16;

    /// Frames of one message each, of this many bytes, and the first of them cut.
    fn waiting(frames: &[usize]) -> (Batches, [SequencedBatch; 1]) {
        let bounds = Bounds {
            frame_bytes_max: 1 << 30,
            buffer_bytes: 1 << 30,
            window_frames: 8,
            patience: Duration::from_secs(1),
            target_delay: Duration::from_secs(3600),
        };
        let mut batches = Batches::new(bounds.target_delay);
        for &bytes in frames {
            batches.open_batch("a").unwrap();
            let (at, _) = batches.add_batch("a", vec![7; bytes], None, Instant::now());
            batches.queue[at].messages = 1;
            batches.queued_bytes += bytes;
        }
        let cut = batches.cut_next(&bounds, Instant::now()).unwrap();
        (batches, [cut])
    }

    fn lent(batches: &mut Batches, cuts: &[SequencedBatch], lanes: usize) -> DetachedFrames {
        let mut detached = DetachedFrames::default();
        detached.lend(batches, cuts, lanes);
        detached
    }

    #[test]
    fn what_waits_is_summed_with_what_leaves_and_keeps_its_place() {
        let (mut batches, cuts) = waiting(&[LARGE + 3, LARGE, LARGE + 1, LARGE + 2]);
        let queued_bytes = batches.queued_bytes;
        let mut detached = lent(&mut batches, &cuts, LANES);
        assert_eq!(detached.lent.len(), 3);
        for (n, lent) in (0..).zip(&mut detached.lent) {
            lent.checksum = Some([n; 16]);
        }
        assert!(!detached.give_back(&mut batches) && detached.lent.is_empty());
        assert_eq!(batches.queued_bytes, queued_bytes);
        for (n, batch) in (0..).zip(&batches.queue) {
            let found = (batch.frame.len(), batch.checksum);
            assert_eq!(found, (LARGE + usize::from(n), Some([n; 16])));
        }
        // What has its checksum is not lent again, and who has one needs no others.
        assert_eq!(lent(&mut batches, &cuts, LANES).lent.len(), 0);
        assert_eq!(lent(&mut batches, &[], LANES).lent.len(), 0);
    }

    #[test]
    fn nothing_is_lent_that_would_hold_up_what_leaves() {
        // As many as there are lanes; none that is longer; none where there are no lanes.
        let (mut batches, cuts) = waiting(&[LARGE, LARGE, LARGE + 1, LARGE, LARGE, LARGE]);
        assert_eq!(lent(&mut batches, &cuts, 4).lent.len(), 3);
        let (mut batches, cuts) = waiting(&[LARGE, LARGE, LARGE + 1, LARGE]);
        assert_eq!(lent(&mut batches, &cuts, LANES).lent.len(), 2);
        let (mut batches, cuts) = waiting(&[LARGE; 6]);
        assert_eq!(lent(&mut batches, &cuts, 1).lent.len(), 0);
        // Small ones share frames, and those their checksums.
        let (mut batches, cuts) = waiting(&[LARGE - 1; 6]);
        assert_eq!(lent(&mut batches, &cuts, LANES).lent.len(), 0);
        // Too few: they are where they were.
        let (mut batches, cuts) = waiting(&[LARGE; LANES_WORTH - 1]);
        assert_eq!(lent(&mut batches, &cuts, LANES).lent.len(), 0);
        assert!(batches.queue.iter().all(|batch| batch.frame.len() == LARGE));
    }

    #[test]
    fn what_goes_meanwhile_frees_its_room() {
        let (mut batches, cuts) = waiting(&[LARGE; 5]);
        let mut detached = lent(&mut batches, &cuts, LANES);
        assert_eq!(detached.lent.len(), 4);
        while batches.remove(0).is_some() {}
        assert!(detached.give_back(&mut batches));
        assert_eq!(batches.queued_bytes, 0);
    }
}
