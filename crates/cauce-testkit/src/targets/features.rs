//! What a server can do, as far as cases depend on it.

use std::fmt;

/// The features of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Streams and groups as from Redis 7.2 on: a woken command runs again as a whole, NOGROUP instead of UNBLOCKED when the
    /// stream goes, `inactive` and `active-time` of consumers, corrected `lag`, CLIENT SETINFO.
    pub semantics_7_2: bool,
    /// EVAL and its family.
    pub scripts: bool,
    /// Hashes, lists, sets and sorted sets.
    pub data_types: bool,
    /// More than one numbered database.
    pub databases: bool,
    /// The Streams commands and options of Redis 7.4 to 8.10: XDELEX, XACKDEL, XNACK, CLAIM, MAXCOUNT, IDMP, `+`, ...
    pub streams_8: bool,
}

/// The name of one feature, as cases write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// [`Features::semantics_7_2`]
    Semantics72,
    /// [`Features::scripts`]
    Scripts,
    /// [`Features::data_types`]
    DataTypes,
    /// [`Features::databases`]
    Databases,
    /// [`Features::streams_8`]
    Streams8,
}

impl Features {
    /// Of a real Redis of this version (major, minor).
    pub fn of_redis(version: (u32, u32)) -> Features {
        Features {
            semantics_7_2: version >= (7, 2),
            scripts: true,
            data_types: true,
            databases: true,
            streams_8: version >= (8, 10),
        }
    }

    /// Of the broker in this repository.
    pub fn of_cauce() -> Features {
        Features { semantics_7_2: true, scripts: true, data_types: true, databases: true, streams_8: true }
    }

    /// Whether the server has it.
    pub fn has(self, feature: Feature) -> bool {
        match feature {
            Feature::Semantics72 => self.semantics_7_2,
            Feature::Scripts => self.scripts,
            Feature::DataTypes => self.data_types,
            Feature::Databases => self.databases,
            Feature::Streams8 => self.streams_8,
        }
    }
}

impl Feature {
    const ALL: [Feature; 5] =
        [Feature::Semantics72, Feature::Scripts, Feature::DataTypes, Feature::Databases, Feature::Streams8];

    /// The feature of this name.
    pub fn named(name: &str) -> Option<Feature> {
        Feature::ALL.into_iter().find(|feature| feature.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Feature::Semantics72 => "semantics_7_2",
            Feature::Scripts => "scripts",
            Feature::DataTypes => "data_types",
            Feature::Databases => "databases",
            Feature::Streams8 => "streams_8",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
