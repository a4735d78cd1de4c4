//! The conformance suite: what every engine must hold, as a library that any engine runs.
