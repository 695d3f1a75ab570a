//! Stop strings in streamed text.

/// Passes text on until a stop string appears in it, and holds back what may yet become one.
#[derive(Debug)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

/// What to do after a piece of text.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed {
    /// Text that is certain not to belong to a stop string.
    pub text: String,
    /// Whether a stop string ended the text; it is not part of `text`.
    pub stopped: bool,
}

impl StopMatcher {
    /// Empty strings stop nothing.
    pub fn new(stops: &[String]) -> Self {
        StopMatcher { stops: stops.iter().filter(|s| !s.is_empty()).cloned().collect(), held: String::new() }
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, piece: &str) -> Passed {
        self.held.push_str(piece);
        if let Some(end) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(end);
            return Passed { text: std::mem::take(&mut self.held), stopped: true };
        }
        let keep = self.stops.iter().map(|stop| longest_beginning(stop, &self.held)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        Passed { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// What was held back, when no more text comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// The length of the longest proper beginning of `stop` that `text` ends with.
fn longest_beginning(stop: &str, text: &str) -> usize {
    let longest = text.len().min(stop.len() - 1);
    (1..=longest).rev().find(|&n| stop.is_char_boundary(n) && text.ends_with(&stop[..n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool, String) {
        let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
        let mut matcher = StopMatcher::new(&stops);
        let mut texts = Vec::new();
        for piece in pieces {
            let Passed { text, stopped } = matcher.push(piece);
            texts.push(text);
            if stopped {
                return (texts, true, matcher.finish());
            }
        }
        (texts, false, matcher.finish())
    }

    #[test]
    fn a_stop_string_across_pieces_never_shows() {
        let (texts, stopped, rest) = run(&["\n\n"], &["one\n", "two\n", "\nthree"]);
        assert_eq!(
            (texts, stopped, rest),
            (vec!["one".into(), "\ntwo".into(), String::new()], true, String::new())
        );
    }

    #[test]
    fn what_only_began_like_one_is_passed_on() {
        let (texts, stopped, rest) = run(&["END"], &["the E", "N", "ough E"]);
        assert_eq!(texts, ["the ", "", "ENough "]);
        assert_eq!((stopped, rest.as_str()), (false, "E"));
    }

    #[test]
    fn the_earliest_of_several_counts() {
        let (texts, stopped, _) = run(&["cd", "b"], &["abcd"]);
        assert_eq!((texts, stopped), (vec!["a".into()], true));
    }

    #[test]
    fn overlapping_beginnings_and_other_alphabets() {
        let (texts, stopped, _) = run(&["aab"], &["aa", "ab"]);
        assert_eq!((texts.concat(), stopped), ("a".into(), true));
        let (texts, stopped, rest) = run(&["é!"], &["caf", "é", "?"]);
        assert_eq!(
            (texts, stopped, rest.as_str()),
            (vec!["caf".into(), String::new(), "é?".into()], false, "")
        );
        let (texts, stopped, _) = run(&[""], &["x"]);
        assert_eq!((texts, stopped), (vec!["x".into()], false));
    }
}
