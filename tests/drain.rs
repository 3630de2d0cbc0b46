//! Its tests come with the data plane's.
