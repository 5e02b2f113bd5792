//! The promises of docs/durability.md as a reference: what may, must and must not be found after a stop.
//!
//! P1 what was acknowledged at a level that survives this loss is there; P2 nothing is there that was not
//! written; P3 what is missing is told as a gap; P4 order, and a batch is whole or not there; P8 a
//! configuration change is visible with its event or not at all; P9 what was pruned stays away, and nothing
//! else goes. That opening fails, panics (P5) or costs more than it must (P6, P7) shows as one of these.

use std::collections::{BTreeMap, BTreeSet};

use elixirscope_foundation::storage::SimStorage;

use crate::machine::Loss;

/// How safe something was said to be, as the store's levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Safe {
    Memory,
    Process,
    Power,
}

impl Safe {
    fn survives(self, loss: Loss) -> bool {
        match loss {
            Loss::Process => self >= Self::Process,
            Loss::Power => self >= Self::Power,
        }
    }
}

/// When something was begun and when it was answered, in operations of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first operation that could belong to it, counted from 1; 0 is before this disk.
    began: u64,
    /// How many operations there had been when it was answered.
    ended: u64,
}

impl Span {
    /// Does something and notes when.
    pub fn of<T>(disk: &SimStorage, work: impl FnOnce() -> T) -> (Self, T) {
        let began = disk.operations() + 1;
        let answer = work();
        (Self { began, ended: disk.operations() }, answer)
    }

    fn begun(self, operations: u64) -> bool {
        self.began <= operations
    }

    fn done(self, operations: u64) -> bool {
        self.ended <= operations
    }
}

/// One call that appended: all or nothing.
#[derive(Debug, Clone)]
pub struct Append {
    pub span: Span,
    /// Place in the order and what the event is known by.
    pub events: Vec<(u64, u64)>,
    pub safe: Safe,
    /// The new value, if it is a change of configuration.
    pub config: Option<u64>,
}

/// Events below `seq` are safe, it was said at some moment.
#[derive(Debug, Clone, Copy)]
pub struct Watermark {
    pub at: u64,
    pub below: u64,
    pub safe: Safe,
}

/// A call that removed every event that is known by less than `below`.
#[derive(Debug, Clone, Copy)]
pub struct Prune {
    pub span: Span,
    pub below: u64,
}

/// What was done and answered.
#[derive(Debug, Clone, Default)]
pub struct Story {
    pub appends: Vec<Append>,
    pub watermarks: Vec<Watermark>,
    pub prunes: Vec<Prune>,
    /// What workload it is, for whoever recovers.
    pub workload: u64,
}

/// What a reader finds.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Place in the order and what the event is known by, in the order they were answered.
    pub events: Vec<(u64, u64)>,
    /// From the first to the last that is missing.
    pub gaps: Vec<(u64, u64)>,
    /// The configuration's value.
    pub config: Option<u64>,
}

impl Story {
    /// Compares what was found after a stop with what had been promised by then.
    pub fn check(&self, operations: u64, loss: Loss, found: &Found) -> Result<(), String> {
        let begun = || self.appends.iter().filter(|append| append.span.begun(operations));
        let written: BTreeMap<u64, u64> = begun().flat_map(|append| append.events.iter().copied()).collect();
        let there: BTreeSet<u64> = found.events.iter().map(|(seq, _)| *seq).collect();

        for pair in found.events.windows(2) {
            if let [(first, _), (second, _)] = pair
                && first >= second
            {
                return Err(format!("P4: seq {second} comes after {first}"));
            }
        }
        for (seq, tag) in &found.events {
            match written.get(seq) {
                Some(expected) if expected == tag => {}
                Some(expected) => {
                    return Err(format!("P2: seq {seq} is event {tag}, {expected} was written"));
                }
                None => return Err(format!("P2: seq {seq}, event {tag}, was never written")),
            }
        }

        let prunes = || self.prunes.iter().filter(|prune| prune.span.begun(operations));
        let may_be_gone = |tag: u64| prunes().any(|prune| tag < prune.below);
        let must_be_gone = |tag: u64| prunes().any(|prune| prune.span.done(operations) && tag < prune.below);
        // An event that was stored after the prune had begun may have been spared, and may not.
        if let Some((seq, tag)) = found.events.iter().find(|(_, tag)| must_be_gone(*tag)) {
            return Err(format!("P9: seq {seq}, event {tag}, was pruned and is back"));
        }

        let safe_below =
            self.watermarks.iter().filter(|mark| mark.at <= operations && mark.safe.survives(loss));
        let safe_below = safe_below.map(|mark| mark.below).max().unwrap_or(0);
        let last = there.last().copied().unwrap_or(0);
        let in_gap = |seq: u64| found.gaps.iter().any(|(from, to)| (*from..=*to).contains(&seq));
        for append in begun() {
            let promised = append.span.done(operations) && append.safe.survives(loss);
            let expected = append.events.iter().filter(|(_, tag)| !may_be_gone(*tag));
            let (whole, missing): (Vec<u64>, Vec<u64>) =
                expected.map(|(seq, _)| *seq).partition(|seq| there.contains(seq));
            if let Some(seq) = missing.iter().find(|seq| promised || **seq < safe_below) {
                let by = if promised { "its receipt" } else { "the watermark" };
                return Err(format!("P1: seq {seq} is lost, {by} said {:?}", append.safe));
            }
            if let (Some(one), Some(other)) = (whole.first(), missing.first()) {
                return Err(format!("P4: of one append seq {one} is there and {other} is not"));
            }
            if let Some(seq) = missing.iter().find(|seq| **seq < last && !in_gap(**seq)) {
                return Err(format!("P3: seq {seq} is missing and no gap says so"));
            }
        }
        if let Some(seq) = there.iter().find(|seq| in_gap(**seq)) {
            return Err(format!("P3: seq {seq} is there and a gap says it is missing"));
        }

        // The value in force is that of the last change that is there, pruned or not.
        let changes = || begun().filter_map(|append| Some((append, append.config?)));
        let survived = changes().filter(|(append, _)| {
            append.events.iter().any(|(seq, tag)| there.contains(seq) || may_be_gone(*tag))
        });
        let survived: Vec<u64> = survived.map(|(_, value)| value).collect();
        if found.config != survived.last().copied() && changes().next().is_some() {
            return Err(format!(
                "P8: the value is {:?}, the changes that are there say {survived:?}",
                found.config
            ));
        }
        Ok(())
    }

    /// The story as it goes on after a recovery that found this, with a disk whose operations count from 0:
    /// what was found was there before, and what was promised still is.
    pub fn after(&self, operations: u64, found: &Found) -> Self {
        let there: BTreeSet<u64> = found.events.iter().map(|(seq, _)| *seq).collect();
        let past = Span { began: 0, ended: 0 };
        let begun = self.appends.iter().filter(|append| append.span.begun(operations));
        let appends = begun.filter(|append| append.events.iter().any(|(seq, _)| there.contains(seq)));
        let appends = appends.map(|append| {
            let promised = append.span.done(operations);
            let events = append.events.iter().filter(|(seq, _)| there.contains(seq)).copied().collect();
            // A recovery promises nothing by itself: what it says is safe is a watermark of its own.
            let safe = if promised { append.safe } else { Safe::Memory };
            Append { span: past, events, safe, config: append.config }
        });
        // One that was stopped may be done, and nobody was told so.
        let prunes = self.prunes.iter().filter(|prune| prune.span.begun(operations)).map(|prune| {
            let ended = if prune.span.done(operations) { 0 } else { u64::MAX };
            Prune { span: Span { began: 0, ended }, ..*prune }
        });
        let watermarks = self.watermarks.iter().filter(|mark| mark.at <= operations);
        Self {
            appends: appends.collect(),
            watermarks: watermarks.map(|mark| Watermark { at: 0, ..*mark }).collect(),
            prunes: prunes.collect(),
            workload: self.workload,
        }
    }
}

/// Three events of two appends, the second of them a batch, and a change of configuration, with one operation
/// each; what is found is changed in one way for each promise.
#[test]
fn each_broken_promise_is_noticed() {
    let append = |at: u64, events: &[(u64, u64)], safe, config| Append {
        span: Span { began: at, ended: at },
        events: events.to_vec(),
        safe,
        config,
    };
    let story = Story {
        appends: vec![
            append(1, &[(1, 10)], Safe::Power, None),
            append(2, &[(2, 20), (3, 21)], Safe::Process, None),
            append(3, &[(4, 30)], Safe::Process, Some(7)),
        ],
        ..Story::default()
    };
    let whole = Found { events: vec![(1, 10), (2, 20), (3, 21), (4, 30)], gaps: Vec::new(), config: Some(7) };
    let check = |operations, loss, change: &dyn Fn(&mut Found)| {
        let mut found = whole.clone();
        change(&mut found);
        story.check(operations, loss, &found).err().map_or(String::new(), |broken| broken[..2].to_owned())
    };
    let keep = |seqs: &'static [u64]| {
        move |found: &mut Found| {
            found.events.retain(|(seq, _)| seqs.contains(seq));
            found.config = found.config.filter(|_| seqs.contains(&4));
        }
    };
    assert_eq!(check(3, Loss::Process, &|_| {}), "");
    assert_eq!(check(3, Loss::Process, &keep(&[1, 2, 3])), "P1");
    assert_eq!(check(3, Loss::Power, &keep(&[1, 2, 3])), "", "it was only safe from the end of the process");
    assert_eq!(check(3, Loss::Power, &keep(&[])), "P1");
    assert_eq!(check(0, Loss::Power, &keep(&[])), "", "nothing was promised yet");
    assert_eq!(check(1, Loss::Power, &|_| {}), "P2", "nobody had written those yet");
    assert_eq!(check(3, Loss::Power, &|found| found.events[1].1 = 22), "P2");
    assert_eq!(check(3, Loss::Power, &keep(&[1, 4])), "P3");
    let gap = |from, to| move |found: &mut Found| found.gaps.push((from, to));
    let both = |found: &mut Found| {
        keep(&[1, 4])(found);
        gap(2, 3)(found);
    };
    assert_eq!(check(3, Loss::Power, &both), "");
    assert_eq!(check(3, Loss::Power, &gap(2, 2)), "P3", "a gap where nothing is missing");
    assert_eq!(check(3, Loss::Power, &keep(&[1, 2])), "P4");
    assert_eq!(check(3, Loss::Power, &|found| found.events.swap(0, 1)), "P4");
    assert_eq!(check(3, Loss::Power, &|found| found.config = None), "P8");
    assert_eq!(check(3, Loss::Power, &|found| found.events.truncate(3)), "P8");

    let mark = |at| Watermark { at, below: 4, safe: Safe::Power };
    let marked = Story { watermarks: vec![mark(2)], ..story.clone() };
    let mut found = whole.clone();
    keep(&[1])(&mut found);
    assert!(marked.check(3, Loss::Power, &found).unwrap_err().starts_with("P1"));
    assert_eq!(marked.check(1, Loss::Power, &found), Ok(()));

    let pruned = |began, ended| Story {
        prunes: vec![Prune { span: Span { began, ended }, below: 21 }],
        ..story.clone()
    };
    let mut found = whole.clone();
    keep(&[3, 4])(&mut found);
    assert_eq!(pruned(3, 4).check(3, Loss::Power, &found), Ok(()), "it may be done");
    assert_eq!(pruned(3, 4).check(3, Loss::Power, &whole), Ok(()), "it need not be");
    assert!(pruned(3, 3).check(3, Loss::Power, &whole).unwrap_err().starts_with("P9"), "it was done");
    assert!(pruned(4, 4).check(3, Loss::Power, &found).unwrap_err().starts_with("P1"), "it was not begun");

    // What goes on from here: what was found is there, and nothing else.
    let after = story.after(2, &Found { events: vec![(1, 10)], ..Found::default() });
    let only = |events: &[(u64, u64)]| Found { events: events.to_vec(), ..Found::default() };
    assert_eq!(after.check(0, Loss::Power, &only(&[(1, 10)])), Ok(()));
    assert!(after.check(0, Loss::Power, &only(&[])).unwrap_err().starts_with("P1"));
    assert!(after.check(0, Loss::Power, &only(&[(1, 10), (2, 20), (3, 21)])).unwrap_err().starts_with("P2"));
}
