//! What the system says about this process. Linux says it in `/proc`; elsewhere it is not known.

use std::fs;

/// The most memory that was in use at once, in bytes.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * kibibytes.trim().trim_end_matches(" kB").parse::<u64>().ok()?)
}

/// How often memory was touched, so far and by any thread, that the system had yet to provide.
pub(crate) fn page_faults() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in parentheses, may contain anything. Behind it, the eighth number.
    stat.rsplit_once(')')?.1.split_whitespace().nth(7)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn touched_memory_is_noticed() {
        let (faults, peak) = (page_faults().unwrap(), peak_memory().unwrap());
        let touched = vec![1_u8; 64 << 20];
        assert!(page_faults().unwrap() > faults && peak_memory().unwrap() >= peak.max(64 << 20));
        assert_eq!(touched.iter().map(|&byte| usize::from(byte)).sum::<usize>(), touched.len());
    }
}
