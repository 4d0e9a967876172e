//! Sets the wall clock of one running process, and of nobody else.
//!
//! It is separate because it depends on the machine. A nats-server is one static Go program, which
//! asks for the time neither the C library (where `LD_PRELOAD` could answer) nor the kernel, but
//! the page of code that Linux maps into every process for it, the vDSO. Here the function
//! `clock_gettime` in the process's own copy of that page is replaced by one that asks the kernel
//! and adds a step to the wall clock. What always holds: the monotonic clock stays as it is, as it
//! does when a machine's clock is set; only a process that stands still meanwhile, and in none of
//! whose threads that page is being executed, is changed; and a program that was started again has
//! the true time.
//!
//! Linux on x86-64 alone. The process must be one that the caller may trace, such as its child.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::rig::process::OwnProcess;

/// How long threads may be in the way.
const BUSY_MAX: Duration = Duration::from_secs(10);
/// The function that answers with the time, as the vDSO names it.
const FUNCTION: &[u8] = b"__vdso_clock_gettime\0";
/// Asks the kernel, and adds the eight bytes that follow to the seconds of the wall clock.
const CODE: [u8; 24] = [
    0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228 (clock_gettime)
    0x0f, 0x05, // syscall
    0x85, 0xff, // test edi, edi (CLOCK_REALTIME is 0)
    0x75, 0x0a, // jne to the ret
    0x48, 0x8b, 0x0d, 0x06, 0x00, 0x00, 0x00, // mov rcx, [the step]
    0x48, 0x01, 0x0e, // add [rsi], rcx
    0xc3, // ret
    0x00, 0x00,
];

/// Makes the wall clock of the process differ by so many seconds from the machine's, from now on;
/// zero sets it right again. The process is stopped for an instant and goes on afterwards.
///
/// # Errors
/// When the machine is another one than described above, or the process may not be changed; it goes
/// on with the clock it had.
pub fn set_clock(process: &OwnProcess, step_seconds: i64) -> io::Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let what = "the clock of a process can be set on Linux and x86-64 only";
        return Err(io::Error::new(io::ErrorKind::Unsupported, what));
    }
    let pid = process.pid();
    let deadline = Instant::now() + BUSY_MAX;
    loop {
        process.pause()?;
        let done = try_set(pid, step_seconds);
        process.resume()?;
        match done {
            Ok(true) => return Ok(()),
            Ok(false) if Instant::now() < deadline => sleep(Duration::from_millis(1)),
            Ok(false) => {
                let what = "a thread is always asking for the time";
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether it could be done: not while a thread is in the code that is to be changed.
fn try_set(pid: u32, step_seconds: i64) -> io::Result<bool> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let page = page_of(&maps).ok_or_else(|| missing("it has no vDSO"))?;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // Ends with the address of the next instruction, in any kind of stop.
        let line = fs::read_to_string(thread?.path().join("syscall"))?;
        let at = line.trim().rsplit_once("0x").map(|(_, at)| at);
        let at = at.and_then(|at| u64::from_str_radix(at, 16).ok());
        if at.is_none_or(|at| page.contains(&at)) {
            return Ok(false);
        }
    }
    let mut memory = File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/{pid}/mem"))?;
    let length = usize::try_from(page.end - page.start).unwrap_or(0);
    let mut image = vec![0; length];
    memory.seek(SeekFrom::Start(page.start))?;
    memory.read_exact(&mut image)?;
    let new = [CODE.as_slice(), &step_seconds.to_le_bytes()].concat();
    let (at, room) = find(&image).ok_or_else(|| missing("its vDSO has no clock_gettime"))?;
    if room < new.len() as u64 {
        return Err(missing("its clock_gettime is too short"));
    }
    memory.seek(SeekFrom::Start(page.start + at))?;
    memory.write_all(&new)?;
    Ok(true)
}

fn missing(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what)
}

/// Where the vDSO is, in the list of what is mapped.
fn page_of(maps: &str) -> Option<Range<u64>> {
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    let (from, to) = line.split_once(' ')?.0.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some(number(from)?..number(to)?)
}

/// Where the function begins in an ELF image, and how long it is.
fn find(image: &[u8]) -> Option<(u64, u64)> {
    /// The type of a section with the symbols of a shared object.
    const DYNAMIC_SYMBOLS: u64 = 11;
    let sections = number(image, 0x28, 8)?;
    let (size, count) = (number(image, 0x3a, 2)?, number(image, 0x3c, 2)?);
    let section = |index: u64| sections + index * size;
    for index in 0..count {
        let header = section(index);
        if number(image, header + 4, 4)? != DYNAMIC_SYMBOLS {
            continue;
        }
        let (from, length) = (
            number(image, header + 24, 8)?,
            number(image, header + 32, 8)?,
        );
        let names = number(image, section(number(image, header + 40, 4)?) + 24, 8)?;
        for symbol in (from..from + length).step_by(24) {
            let name = usize::try_from(names + number(image, symbol, 4)?).ok()?;
            if image.get(name..)?.starts_with(FUNCTION) {
                return Some((
                    number(image, symbol + 8, 8)?,
                    number(image, symbol + 16, 8)?,
                ));
            }
        }
    }
    None
}

/// A little-endian number of so many bytes.
fn number(image: &[u8], at: u64, bytes: usize) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let found = image.get(at..at.checked_add(bytes)?)?;
    Some(
        found
            .iter()
            .rev()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
    )
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// A function that is found at the wrong place is overwritten with rubbish there. That the clock
    /// of a real server is set is tested where real servers are.
    #[test]
    fn the_function_is_found_in_the_page_of_this_very_process() {
        let maps = fs::read_to_string("/proc/self/maps").expect("mapped");
        let page = page_of(&maps).expect("a vDSO");
        let mut image = vec![0; usize::try_from(page.end - page.start).expect("small")];
        let mut memory = File::open("/proc/self/mem").expect("its own memory");
        memory.seek(SeekFrom::Start(page.start)).expect("there");
        memory.read_exact(&mut image).expect("readable");
        let (at, room) = find(&image).expect("the function");
        assert!(at + room <= image.len() as u64 && room >= 32, "{at} {room}");
        assert_eq!(find(&image[..64]), None, "no symbols");
        let mut renamed = image;
        let name = FUNCTION.len();
        let place = renamed.windows(name).position(|found| found == FUNCTION);
        renamed[place.expect("its name")] = b'x';
        assert_eq!(find(&renamed), None, "another function");
    }
}
