//! What the machine says about itself and this process, and folders for files that a benchmark makes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// What the figures are measured on, and how busy it is: never a machine's name, only its kind.
pub fn kind() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|pair| pair.1.to_owned()))
        .unwrap_or_else(|| "unknown".to_owned());
    let memory_gib = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib.div_ceil(1 << 20));
    let release = read("/proc/sys/kernel/osrelease");
    let kernel = release.trim().split('.').take(2).collect::<Vec<_>>().join(".");
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let busy: f64 =
        read("/proc/loadavg").split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    json!({ "load": busy, "cpu": cpu, "cpus": cpus, "memory_gib": memory_gib, "kernel": kernel, "arch": std::env::consts::ARCH })
}

/// The date in UTC, `YYYY-MM-DD`.
pub fn today() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    // Civil date of a day count (days since 1970-01-01), by the usual era arithmetic.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Bytes of this process's memory that are no file's.
pub fn anonymous_memory() -> u64 {
    fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// Processor time of this process so far, all threads.
pub fn processor_time() -> Duration {
    // SAFETY: all zeros is a valid rusage, which the call fills.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let time = |value: libc::timeval| {
        Duration::from_secs(value.tv_sec as u64) + Duration::from_micros(value.tv_usec as u64)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Bytes that this process has caused to be written to disks so far.
pub fn written_bytes() -> u64 {
    fs::read_to_string("/proc/self/io")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
        .unwrap_or(0)
}

/// Waits until no thread of this process has work any more: in a while next to no processor time was used. Gives up
/// after ten seconds, since a store may never rest.
pub fn settle() {
    const LOOK: Duration = Duration::from_millis(20);
    let start = Instant::now();
    let mut before = processor_time();
    while start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(LOOK);
        let now = processor_time();
        if now.saturating_sub(before) < LOOK / 20 {
            return;
        }
        before = now;
    }
}

/// Bytes of disk that the files of a folder take.
pub fn disk_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

/// A folder for the files of one table, on the disk that the project is built on. Emptied when it is made and
/// removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// An empty folder of this name.
    pub fn new(name: &str) -> Result<Self, String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/scratch").join(name);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    /// A folder in it, made if it is not there.
    pub fn sub(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.0.join(name);
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_has_its_form() {
        let date = today();
        assert_eq!(date.len(), 10, "{date}");
        assert!(date.as_str() > "2026-01-01", "{date}");
    }

    #[test]
    fn memory_is_counted() {
        let before = anonymous_memory();
        let bytes = std::hint::black_box(vec![1_u8; 32 << 20]);
        assert!(anonymous_memory() >= before + (24 << 20));
        drop(bytes);
    }
}
