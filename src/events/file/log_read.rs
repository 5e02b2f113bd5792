//! Reading a log back: what is whole is answered, what is not is named.
//!
//! # What is kept
//! A commit frame says up to where a sync had returned when it was written; the furthest of these is *proven*. Bytes
//! before it were durable, so what does not check there is rot, costs its block, and whatever record is left is
//! kept. Behind it a crash may have left anything: records count only if all records of their append are there,
//! from the one flagged first to the one flagged last. So a batch is there whole or not at all.
//!
//! The file is walked twice: once to learn what is damaged and what is proven, once to answer it. Each time every
//! checksum is compared.

use super::bytes::{u8_at, u32_at, u64_at};
use super::frame::{
    AT_OFFSET, AT_TAG, FileKind, HEAD, HEADER_BYTES, Header, Kind, MARKER_BYTES, Salt, plausible,
};
use super::incompatible;
use super::names::LogNames;
use super::window::Window;
use crate::error::{Code, Error, Result};
use crate::events::record::{AT_FLAGS, AT_NODE, AT_TYPE, FLAG_FIRST, FLAG_LAST, Record};
use crate::storage::File;

/// What a log holds, in the order of the file.
#[derive(Clone, Copy)]
pub(crate) enum LogItem<'a> {
    /// An event, and what its numbers stand for.
    Record(Record<'a>, &'a LogNames),
    /// Bytes that are not there or do not count.
    Damage(Damage),
}

/// A stretch of a log that holds nothing that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Offset of its first byte.
    pub(crate) from: u64,
    /// Offset behind its last byte.
    pub(crate) to: u64,
    /// `seq` of the last event before it, if there is one in this log.
    pub(crate) after_seq: Option<u64>,
    /// `seq` of the first event behind it, if there is one in this log.
    pub(crate) before_seq: Option<u64>,
    /// What it means.
    pub(crate) kind: DamageKind,
}

/// What damage means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DamageKind {
    /// Nothing that counts is behind it: how a crash ends a log. Of a recycled log it may be old bytes.
    TornTail,
    /// There are events behind it, and no sync had covered it: how the kernel's order of writing shows.
    Hole,
    /// It had been durable: the medium or another program changed it.
    Rot,
}

/// What reading a log found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogReport {
    /// The log has its end frame.
    pub(crate) finished: bool,
    /// The file header did not check; nothing else was lost by that.
    pub(crate) header_damaged: bool,
    /// Offset behind the last frame that checks.
    pub(crate) end: u64,
    /// Up to here a sync is known to have returned.
    pub(crate) proven: u64,
    /// Events answered.
    pub(crate) events: u64,
    /// `seq` of the last event answered; 0 is none.
    pub(crate) last_seq: u64,
    /// Events that check but belong to an append that is not whole.
    pub(crate) dropped: u64,
    /// Commit frames.
    pub(crate) commits: u64,
    /// Commit frames that tell of other frames than those before them, though all of these check.
    pub(crate) broken_chains: u64,
    /// Pieces of damage answered.
    pub(crate) damages: u64,
    /// Bytes that the disk could not give.
    pub(crate) unreadable: u64,
}

/// Reads a log whose header is, or by its name and the manifest must be, this one; calls `on` for each item and
/// stops at the first error that it answers. Nothing is called before the whole file has been looked at once.
///
/// `incompatible_format` if there is a frame that this version may not skip; else only what the disk or `on`
/// answers. An empty or foreign file has no items.
pub(crate) fn scan_log(
    file: &dyn File,
    header: &Header,
    on: &mut dyn FnMut(LogItem<'_>) -> Result<()>,
) -> Result<LogReport> {
    let survey = survey(file, header)?;
    let mut report = survey.report;
    let mut lost = Lost::default();
    let mut walker = Walker::new(file, report.end, header);
    while let Some(step) = walker.next()? {
        match step {
            Step::Frame { .. } => {}
            Step::Bad { from, to } => lost.add(from, to.unwrap_or(report.end)),
            Step::Record { offset, end, .. } if survey.drops(offset) => {
                report.dropped += 1;
                lost.add(offset, end);
            }
            Step::Record { offset, end, seq } => {
                if let Some((from, to)) = lost.take() {
                    let kind = if from < report.proven { DamageKind::Rot } else { DamageKind::Hole };
                    let after_seq = Some(report.last_seq).filter(|seq| *seq > 0);
                    report.damages += 1;
                    on(LogItem::Damage(Damage { from, to, after_seq, before_seq: Some(seq), kind }))?;
                }
                let bytes = walker.bytes(offset, end);
                let record = Record::parse(bytes).ok_or_else(|| changed(offset))?;
                on(LogItem::Record(record, &walker.names))?;
                report.events += 1;
                report.last_seq = seq;
            }
        }
    }
    report.unreadable += walker.window.unreadable();
    if let Some((from, to)) = survey.tail {
        lost.add(from, to);
    }
    if let Some((from, to)) = lost.take() {
        let kind = if from < report.proven { DamageKind::Rot } else { DamageKind::TornTail };
        let after_seq = Some(report.last_seq).filter(|seq| *seq > 0);
        report.damages += 1;
        on(LogItem::Damage(Damage { from, to, after_seq, before_seq: None, kind }))?;
    }
    Ok(report)
}

fn changed(offset: u64) -> Error {
    let message = format!("the log changed at {offset} while it was read");
    Error::new(Code::DataCorruption, message).with("offset", offset)
}

/// Adjoining stretches that were lost, as one.
#[derive(Debug, Default)]
struct Lost(Option<(u64, u64)>);

impl Lost {
    fn add(&mut self, from: u64, to: u64) {
        let (from, _) = self.0.unwrap_or((from, to));
        self.0 = Some((from, to));
    }

    fn take(&mut self) -> Option<(u64, u64)> {
        self.0.take()
    }
}

/// What the first walk learns.
#[derive(Debug, Default)]
struct Survey {
    report: LogReport,
    /// Where records of appends that are not whole lie, rising and apart; those before what is proven are kept.
    partial: Vec<(u64, u64)>,
    /// Bytes behind the last frame, unless they were never written.
    tail: Option<(u64, u64)>,
}

impl Survey {
    /// Whether the record at this offset does not count.
    fn drops(&self, offset: u64) -> bool {
        let behind = self.partial.partition_point(|(from, _)| *from <= offset);
        let at = behind.checked_sub(1).and_then(|index| self.partial.get(index));
        at.is_some_and(|(from, to)| (*from..*to).contains(&offset) && *from >= self.report.proven)
    }
}

/// Records in a row that may be one append.
#[derive(Debug, Clone, Copy)]
struct Run {
    from: u64,
    /// It starts with the first record of its append.
    starts: bool,
}

fn survey(file: &dyn File, header: &Header) -> Result<Survey> {
    let length = file.len()?;
    let mut survey = Survey::default();
    let mut walker = Walker::new(file, length, header);
    let mut run: Option<Run> = None;
    // The chain of the frames since the last commit frame; unknown behind damage.
    let mut chain = Some(0_u32);
    while let Some(step) = walker.next()? {
        let end = match step {
            Step::Bad { from, to } => {
                chain = None;
                survey.partial.extend(run.take().map(|run| (run.from, from)));
                let Some(to) = to else {
                    let written = u64_at(walker.window.slice(from, 8)?, 0) != 0;
                    survey.tail = written.then_some((from, length));
                    break;
                };
                to
            }
            Step::Record { offset, end, .. } => {
                let bytes = walker.bytes(offset, end);
                chain = chain.map(|chain| linked(chain, bytes));
                let flags = u8_at(bytes, AT_FLAGS);
                if flags & FLAG_FIRST != 0 {
                    survey.partial.extend(run.take().map(|run| (run.from, offset)));
                }
                let now = run.unwrap_or(Run { from: offset, starts: flags & FLAG_FIRST != 0 });
                run = Some(now);
                if flags & FLAG_LAST != 0 {
                    survey.partial.extend((!now.starts).then_some((now.from, end)));
                    run = None;
                }
                end
            }
            Step::Frame { kind, offset, end } => {
                let bytes = walker.bytes(offset, end);
                if matches!(kind, Kind::Commit | Kind::End) {
                    let stored = u32_at(bytes, 48);
                    // The first chain starts with the header.
                    let known = chain.filter(|_| !walker.header_damaged || survey.report.commits > 0);
                    survey.report.broken_chains += u64::from(known.is_some_and(|chain| chain != stored));
                    chain = Some(stored);
                    survey.report.proven = survey.report.proven.max(u64_at(bytes, 40));
                    survey.report.commits += u64::from(kind == Kind::Commit);
                    survey.report.finished = kind == Kind::End;
                } else {
                    chain = chain.map(|chain| linked(chain, bytes));
                }
                end
            }
        };
        survey.report.end = end;
    }
    survey.partial.extend(run.map(|run| (run.from, survey.report.end)));
    survey.report.header_damaged = walker.header_damaged;
    survey.report.proven = survey.report.proven.min(survey.report.end);
    Ok(survey)
}

fn linked(chain: u32, frame: &[u8]) -> u32 {
    crc32c::crc32c_append(chain, frame.get(4..8).unwrap_or_default())
}

/// One step through a log.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A frame that is not an event's.
    Frame { kind: Kind, offset: u64, end: u64 },
    /// The record of an event.
    Record { offset: u64, end: u64, seq: u64 },
    /// What does not check, up to the next resync marker; `None` if there is none.
    Bad { from: u64, to: Option<u64> },
}

/// Steps through the frames of a log.
struct Walker<'f> {
    window: Window<'f>,
    salt: Salt,
    offset: u64,
    names: LogNames,
    /// The next event must be behind this `seq`.
    last_seq: u64,
    header_damaged: bool,
    done: bool,
}

impl<'f> Walker<'f> {
    fn new(file: &'f dyn File, length: u64, header: &Header) -> Self {
        debug_assert!(header.identity.kind == FileKind::Log);
        Self {
            window: Window::new(file, length),
            salt: header.identity.salt(),
            offset: 0,
            names: LogNames::new(),
            last_seq: header.first_seq.saturating_sub(1),
            header_damaged: false,
            done: false,
        }
    }

    /// The bytes of a step that was just answered.
    fn bytes(&self, offset: u64, end: u64) -> &[u8] {
        self.window.loaded(offset).get(..(end - offset) as usize).unwrap_or_default()
    }

    fn next(&mut self) -> Result<Option<Step>> {
        if self.done || self.offset >= self.window.length() {
            return Ok(None);
        }
        let offset = self.offset;
        if let Some((kind, end, seq)) = self.frame(offset)? {
            self.offset = end;
            self.done = kind == Kind::End;
            return Ok(Some(match kind {
                Kind::Event => Step::Record { offset, end, seq },
                kind => Step::Frame { kind, offset, end },
            }));
        }
        // A damaged header hides nothing: the first frame behind it has its known place.
        let behind = HEADER_BYTES as u64;
        if offset == 0 && self.frame(behind)?.is_some() {
            self.names = LogNames::new();
            self.header_damaged = true;
            self.offset = behind;
            return self.next();
        }
        let to = self.find_marker(offset + 8)?;
        match to {
            Some(to) => self.offset = to,
            None => self.done = true,
        }
        Ok(Some(Step::Bad { from: offset, to }))
    }

    /// The frame at this offset: its kind, its end and its tag, if it checks and may stand here.
    fn frame(&mut self, offset: u64) -> Result<Option<(Kind, u64, u64)>> {
        let Some(length) = plausible(self.window.slice(offset, HEAD)?) else { return Ok(None) };
        let Some(frame) = self.window.frame(offset, length, self.salt)? else { return Ok(None) };
        let tag = u64_at(frame.bytes, AT_TAG);
        let holds = match frame.kind {
            Kind::Event => {
                let named = |at| self.names.name(u32_at(frame.bytes, at)).is_some();
                tag > self.last_seq && named(AT_TYPE) && named(AT_NODE)
            }
            Kind::Name => self.names.define(frame.bytes),
            Kind::Header => offset == 0,
            Kind::Marker | Kind::Commit | Kind::End | Kind::Unknown { required: false } => true,
            Kind::Data | Kind::Filter | Kind::Footer => false,
            Kind::Unknown { required: true } => {
                return Err(incompatible(format_args!(
                    "a log holds a frame of the unknown kind {:02x}",
                    tag >> 56
                )));
            }
        };
        let kind = frame.kind;
        if !holds {
            return Ok(None);
        }
        match kind {
            Kind::Event => self.last_seq = tag,
            Kind::Marker => self.names.reset(),
            _ => {}
        }
        Ok(Some((kind, offset + length as u64, tag)))
    }

    /// The offset of the first frame from here on that says where it stands and checks: a resync marker, a commit or
    /// an end frame. Events do not say it, so one that stands inside the data of another is never taken for one.
    fn find_marker(&mut self, from: u64) -> Result<Option<u64>> {
        let tags = [Kind::Marker, Kind::Commit, Kind::End].map(Kind::tag);
        let mut at = from;
        while at + MARKER_BYTES as u64 <= self.window.length() {
            let bytes = self.window.slice(at, MARKER_BYTES)?;
            let mut start = at;
            let mut found = None;
            for eight in bytes.get(AT_TAG..).unwrap_or_default().chunks_exact(8) {
                if tags.contains(&u64_at(eight, 0)) {
                    found = Some(start);
                    break;
                }
                start += 8;
            }
            let Some(offset) = found else {
                // The last 8 bytes of the window may be the start of one.
                at = start.max(at + 8);
                continue;
            };
            let head = self.window.slice(offset, HEAD)?;
            let here = u64_at(head, AT_OFFSET) == offset;
            if let Some(length) = plausible(head).filter(|_| here)
                && self.window.frame(offset, length, self.salt)?.is_some()
            {
                return Ok(Some(offset));
            }
            at = offset + 8;
        }
        Ok(None)
    }
}
