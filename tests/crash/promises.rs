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
    /// Before this disk.
    pub const PAST: Self = Self { began: 0, ended: 0 };

    /// Does something and notes when.
    pub fn of<T>(disk: &SimStorage, work: impl FnOnce() -> T) -> (Self, T) {
        let began = disk.operations() + 1;
        let answer = work();
        (Self { began, ended: disk.operations() }, answer)
    }

    /// The same for what was never answered.
    pub fn unanswered(self) -> Self {
        Self { ended: u64::MAX, ..self }
    }

    fn begun(self, moment: Moment) -> bool {
        // What needed no operation at all is begun when it is done.
        self.began <= moment.begun || self.done(moment)
    }

    fn done(self, moment: Moment) -> bool {
        self.ended <= moment.done
    }
}

/// How far a disk had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// So many operations had been begun,
    begun: u64,
    /// and so many had been done.
    done: u64,
}

impl Moment {
    /// A disk that was stopped: a kill may come in the middle of the last operation.
    pub fn stopped(operations: u64, loss: Loss) -> Self {
        let last = u64::from(loss == Loss::Process);
        Self { begun: operations, done: operations.saturating_sub(last) }
    }

    /// A disk that goes on.
    pub fn running(operations: u64) -> Self {
        Self { begun: operations, done: operations }
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
    /// A recovery that had come so far did not find it: from then on it is gone.
    gone: Option<u64>,
}

impl Append {
    pub fn new(span: Span, events: Vec<(u64, u64)>, safe: Safe) -> Self {
        Self { span, events, safe, config: None, gone: None }
    }

    fn may_be_there(&self, moment: Moment) -> bool {
        self.span.begun(moment) && self.gone.is_none_or(|gone| moment.begun < gone)
    }
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
    /// Values that recoveries before found in force; each change has a larger one than those before it.
    configs: Vec<Option<u64>>,
    /// The last value that was said to be safe from a loss of power.
    config_safe: Option<u64>,
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
    /// Nothing was done yet.
    pub fn new(workload: u64) -> Self {
        Self { workload, ..Self::default() }
    }

    /// The largest number that an event was known by.
    pub fn last_number(&self) -> u64 {
        let events = self.appends.iter().flat_map(|append| &append.events);
        let numbers = events.map(|(_, number)| *number).chain(self.prunes.iter().map(|prune| prune.below));
        numbers.max().unwrap_or(0)
    }

    /// Compares what was found after a stop with what had been promised by then.
    pub fn check(&self, moment: Moment, loss: Loss, found: &Found) -> Result<(), String> {
        let begun = || self.appends.iter().filter(|append| append.may_be_there(moment));
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

        let prunes = || self.prunes.iter().filter(|prune| prune.span.begun(moment));
        let may_be_gone = |tag: u64| prunes().any(|prune| tag < prune.below);
        let must_be_gone = |tag: u64| prunes().any(|prune| prune.span.done(moment) && tag < prune.below);
        // An event that was stored after the prune had begun may have been spared, and may not.
        if let Some((seq, tag)) = found.events.iter().find(|(_, tag)| must_be_gone(*tag)) {
            return Err(format!("P9: seq {seq}, event {tag}, was pruned and is back"));
        }

        let safe_below =
            self.watermarks.iter().filter(|mark| mark.at <= moment.done && mark.safe.survives(loss));
        let safe_below = safe_below.map(|mark| mark.below).max().unwrap_or(0);
        let last = there.last().copied().unwrap_or(0);
        let in_gap = |seq: u64| found.gaps.iter().any(|(from, to)| (*from..=*to).contains(&seq));
        for append in begun() {
            let promised = append.span.done(moment) && append.safe.survives(loss);
            let expected = append.events.iter().filter(|(_, tag)| !may_be_gone(*tag));
            let (whole, missing): (Vec<u64>, Vec<u64>) =
                expected.map(|(seq, _)| *seq).partition(|seq| there.contains(seq));
            if let Some(seq) = missing.iter().find(|seq| promised || **seq < safe_below) {
                let by = if promised { "its receipt" } else { "a watermark" };
                return Err(format!(
                    "P1: seq {seq} is lost, {by} said it was safe from the loss of the {loss:?}"
                ));
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

        // The value in force is that of the last change that is there; one that was pruned may have been.
        let mut allowed = self.configs.clone();
        if allowed.is_empty() {
            allowed.push(None);
        }
        let mut floor = self.config_safe;
        allowed.extend(floor.map(Some));
        for (append, value) in begun().filter_map(|append| Some((append, append.config?))) {
            let promised = append.span.done(moment) && append.safe.survives(loss);
            let certain = append.events.iter().any(|(seq, _)| there.contains(seq) || *seq < safe_below);
            let perhaps = append.events.iter().any(|(_, tag)| may_be_gone(*tag));
            if certain || promised {
                floor = floor.max(Some(value));
            }
            if certain || promised || perhaps {
                allowed.push(Some(value));
            }
        }
        if found.config < floor || !allowed.contains(&found.config) {
            return Err(format!(
                "P8: the value is {:?}, at least {floor:?} is there, of {allowed:?}",
                found.config
            ));
        }
        Ok(())
    }

    /// The story as it goes on after a recovery that found this, on a disk whose operations count from 0: what
    /// was promised still is. Until the recovery had come to its end, after `opened` operations, nobody knew
    /// what it would find, and another one may find otherwise.
    pub fn after(&self, moment: Moment, loss: Loss, found: &Found, opened: u64) -> Self {
        let there: BTreeSet<u64> = found.events.iter().map(|(seq, _)| *seq).collect();
        let appends = self.appends.iter().filter(|append| append.may_be_there(moment)).map(|append| {
            let found = append.events.iter().any(|(seq, _)| there.contains(seq));
            // A recovery promises nothing by itself: what it says is safe is a watermark of its own.
            let safe = if found && append.span.done(moment) { append.safe } else { Safe::Memory };
            let gone = if found { None } else { Some(opened) };
            Append { span: Span::PAST, events: append.events.clone(), safe, config: append.config, gone }
        });
        // One that was stopped may be done, and nobody was told so.
        let prunes = self.prunes.iter().filter(|prune| prune.span.begun(moment)).map(|prune| {
            let ended = if prune.span.done(moment) { 0 } else { u64::MAX };
            Prune { span: Span { began: 0, ended }, ..*prune }
        });
        let below = self.watermarks.iter().filter(|mark| mark.at <= moment.done && mark.safe == Safe::Power);
        let below = below.map(|mark| mark.below).max().unwrap_or(0);
        let config_safe = self.appends.iter().filter(|append| {
            let promised = append.span.done(moment) && append.safe == Safe::Power;
            append.may_be_there(moment) && (promised || append.events.iter().any(|(seq, _)| *seq < below))
        });
        let config_safe = config_safe.filter_map(|append| append.config).max();
        // The places of what is lost are given to others, of which nothing was said yet.
        let next = found.events.last().map_or(0, |(seq, _)| seq + 1);
        let watermarks =
            self.watermarks.iter().filter(|mark| mark.at <= moment.done && mark.safe.survives(loss));
        Self {
            appends: appends.collect(),
            watermarks: watermarks
                .map(|mark| Watermark { at: 0, below: mark.below.min(next), ..*mark })
                .collect(),
            prunes: prunes.collect(),
            configs: self.configs.iter().copied().chain([None, found.config]).collect(),
            config_safe: self.config_safe.max(config_safe),
            workload: self.workload,
        }
    }
}

/// Three events of two appends, the second of them a batch, and a change of configuration, with one operation
/// each; what is found is changed in one way for each promise.
#[test]
fn each_broken_promise_is_noticed() {
    let append = |at: u64, events: &[(u64, u64)], safe, config| Append {
        config,
        ..Append::new(Span { began: at, ended: at }, events.to_vec(), safe)
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
        story
            .check(Moment::running(operations), loss, &found)
            .err()
            .map_or(String::new(), |broken| broken[..2].to_owned())
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
    let killed = Moment::stopped(3, Loss::Process);
    let mut found = whole.clone();
    keep(&[1, 2, 3])(&mut found);
    assert_eq!(
        story.check(killed, Loss::Process, &found),
        Ok(()),
        "killed in the middle of the last operation"
    );
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
    assert!(marked.check(Moment::running(3), Loss::Power, &found).unwrap_err().starts_with("P1"));
    assert_eq!(marked.check(Moment::running(1), Loss::Power, &found), Ok(()));

    let pruned = |began, ended| Story {
        prunes: vec![Prune { span: Span { began, ended }, below: 21 }],
        ..story.clone()
    };
    let mut found = whole.clone();
    keep(&[3, 4])(&mut found);
    assert_eq!(pruned(3, 4).check(Moment::running(3), Loss::Power, &found), Ok(()), "it may be done");
    assert_eq!(pruned(3, 4).check(Moment::running(3), Loss::Power, &whole), Ok(()), "it need not be");
    assert!(
        pruned(3, 3).check(Moment::running(3), Loss::Power, &whole).unwrap_err().starts_with("P9"),
        "it was done"
    );
    assert!(
        pruned(4, 4).check(Moment::running(3), Loss::Power, &found).unwrap_err().starts_with("P1"),
        "it was not begun"
    );

    // What goes on from here: what was found is there, and nothing else.
    let after =
        story.after(Moment::running(2), Loss::Power, &Found { events: vec![(1, 10)], ..Found::default() }, 2);
    let only = |events: &[(u64, u64)]| Found { events: events.to_vec(), ..Found::default() };
    assert_eq!(after.check(Moment::running(0), Loss::Power, &only(&[(1, 10)])), Ok(()));
    assert!(after.check(Moment::running(0), Loss::Power, &only(&[])).unwrap_err().starts_with("P1"));
    let more = only(&[(1, 10), (2, 20), (3, 21)]);
    assert_eq!(
        after.check(Moment::running(1), Loss::Power, &more),
        Ok(()),
        "nobody had found it missing yet"
    );
    assert!(after.check(Moment::running(2), Loss::Power, &more).unwrap_err().starts_with("P2"));
}
