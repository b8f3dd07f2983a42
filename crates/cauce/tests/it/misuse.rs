//! Misuse does not compile, and the message names the fix. (Slow: it runs the compiler.)

#[test]
fn misuse_does_not_compile_and_the_message_names_the_fix() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
