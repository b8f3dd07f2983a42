//! Property tests of the public interface.

mod decode;
