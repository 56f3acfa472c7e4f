//! Reads what `valgrind --tool=dhat --mode=copy` wrote: bytes that `memcpy` and its like copied.

use serde::Deserialize;

#[derive(Deserialize)]
struct Profile {
    pps: Vec<Point>,
    ftbl: Vec<String>,
}

/// A place in the program, with its callers.
#[derive(Deserialize)]
struct Point {
    /// Total of bytes.
    tb: u64,
    /// Frames, as indices of `ftbl`.
    fs: Vec<usize>,
}

/// Bytes that were copied while this function was being called.
///
/// # Errors
/// When the profile is none.
pub fn copied_within(profile: &str, function: &str) -> Result<u64, serde_json::Error> {
    let Profile { pps, ftbl } = serde_json::from_str(profile)?;
    let is_function: Vec<bool> = ftbl.iter().map(|frame| frame.contains(function)).collect();
    let within =
        |point: &&Point| point.fs.iter().any(|&frame| is_function.get(frame) == Some(&true));
    Ok(pps.iter().filter(within).map(|point| point.tb).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_function_causes_is_added_up() {
        let profile = r#"{"dhatFileVersion":2,"mode":"copy","pps":[
            {"tb":60,"tbk":4,"fs":[1,2]}, {"tb":7,"tbk":1,"fs":[1,3]}, {"tb":5,"tbk":1,"fs":[3,2,1]}
        ],"ftbl":["[root]","0x1: memmove (in x)","0x2: gate::side::server_side (side.rs:7)","0x3: main"]}"#;
        assert_eq!(copied_within(profile, "server_side").unwrap(), 65);
        assert_eq!(copied_within(profile, "publisher_side").unwrap(), 0);
        assert!(copied_within("{", "server_side").is_err());
    }
}
