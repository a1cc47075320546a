//! The behaviour that every tollgate store must show, as tests, with a model and a store that fails on purpose.
