//! The differential tester as a program.
fn main() {}
