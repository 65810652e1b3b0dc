//! Access control lists, and the one question they answer: may this be done?
//!
//! The rules are those of Kafka's `StandardAuthorizer` with
//! `allow.everyone.if.no.acl.found=false`:
//! - one matching Deny refuses, whatever else is there;
//! - one matching Allow permits, also of an operation that implies the one asked
//!   ([`Operation::implied_by`]; a Deny implies nothing);
//! - otherwise it is refused.
//!
//! An ACL matches by resource name (literal, `*`, or prefix), principal (`User:name` or `User:*`),
//! host (an address or `*`) and operation (the same, or All). Everything here is a pure function of
//! its arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::resource::{Operation, Pattern, Permission, Resource, ResourceKind};

/// Any principal, host or literal name.
pub const WILDCARD: &str = "*";
/// Any principal, as an ACL names it.
pub const ANY_PRINCIPAL: &str = "User:*";

/// One access rule, as CreateAcls makes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    pub kind: ResourceKind,
    pub name: String,
    pub pattern: Pattern,
    pub rule: Rule,
}

/// The part of an ACL besides the resource it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// `User:name`, or `User:*`.
    pub principal: String,
    /// An IP address, or `*`.
    pub host: String,
    pub operation: Operation,
    pub permission: Permission,
}

/// Who asks, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// `User:name`.
    pub principal: &'a str,
    /// The IP address in text, without a port.
    pub host: &'a str,
}

/// Which ACLs are meant, as DescribeAcls and DeleteAcls ask. `None` means any.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub kind: Option<ResourceKind>,
    pub name: Option<String>,
    pub pattern: PatternFilter,
    pub principal: Option<String>,
    pub host: Option<String>,
    pub operation: Option<Operation>,
    pub permission: Option<Permission>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PatternFilter {
    #[default]
    Any,
    /// Those that would be looked at for a resource of this name.
    Match,
    Exact(Pattern),
}

/// All ACLs of a node.
#[derive(Clone, Debug, Default)]
pub struct Acls {
    /// By kind, pattern and name, so that a check looks at few.
    by_resource: BTreeMap<(ResourceKind, Pattern), BTreeMap<String, BTreeSet<Rule>>>,
}

impl Acls {
    /// False if it was there.
    pub fn add(&mut self, acl: Acl) -> bool {
        let names = self.by_resource.entry((acl.kind, acl.pattern)).or_default();
        names.entry(acl.name).or_default().insert(acl.rule)
    }

    pub fn remove(&mut self, acl: &Acl) {
        let Some(names) = self.by_resource.get_mut(&(acl.kind, acl.pattern)) else { return };
        let Some(rules) = names.get_mut(&acl.name) else { return };
        rules.remove(&acl.rule);
        if rules.is_empty() {
            names.remove(&acl.name);
        }
    }

    pub fn contains(&self, acl: &Acl) -> bool {
        let names = self.by_resource.get(&(acl.kind, acl.pattern));
        names.and_then(|names| names.get(&acl.name)).is_some_and(|rules| rules.contains(&acl.rule))
    }

    pub fn len(&self) -> usize {
        self.by_resource.values().flat_map(BTreeMap::values).map(BTreeSet::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// May this be done? See the head of this file.
    pub fn allow(&self, who: Who<'_>, operation: Operation, resource: Resource<'_>) -> bool {
        let mut allowed = false;
        for rules in self.about(resource) {
            for rule in rules.iter().filter(|rule| rule.is_about(who)) {
                match rule.permission {
                    Permission::Deny if rule.covers(operation) => return false,
                    Permission::Deny => {}
                    Permission::Allow => {
                        allowed |= operation.implied_by().iter().any(|one| rule.covers(*one));
                    }
                }
            }
        }
        allowed
    }

    /// May this be done to at least one resource of this kind, there or not (Kafka:
    /// `authorizeByResourceType`)? An Allow counts unless a Deny takes in all it permits.
    pub fn allow_any(&self, who: Who<'_>, operation: Operation, kind: ResourceKind) -> bool {
        let of = |pattern: Pattern, permission: Permission| {
            let names = self.by_resource.get(&(kind, pattern)).into_iter().flatten();
            names.filter_map(move |(name, rules)| {
                let fits = |rule: &Rule| {
                    rule.permission == permission && rule.is_about(who) && rule.covers(operation)
                };
                rules.iter().any(fits).then_some(name.as_str())
            })
        };
        let literal_denied: BTreeSet<&str> = of(Pattern::Literal, Permission::Deny).collect();
        let prefix_denied: Vec<&str> = of(Pattern::Prefixed, Permission::Deny).collect();
        if literal_denied.contains(WILDCARD) {
            return false;
        }
        let swallowed = |name: &str| prefix_denied.iter().any(|prefix| name.starts_with(prefix));
        of(Pattern::Prefixed, Permission::Allow).any(|prefix| !swallowed(prefix))
            || of(Pattern::Literal, Permission::Allow)
                .any(|name| name == WILDCARD || !(literal_denied.contains(name) || swallowed(name)))
    }

    /// The ACLs that a filter means.
    pub fn find(&self, filter: &Filter) -> Vec<Acl> {
        let mut found = Vec::new();
        for ((kind, pattern), names) in &self.by_resource {
            for (name, rules) in names {
                if !filter.means_resource(*kind, *pattern, name) {
                    continue;
                }
                found.extend(rules.iter().filter(|rule| filter.means_rule(rule)).map(|rule| Acl {
                    kind: *kind,
                    name: name.clone(),
                    pattern: *pattern,
                    rule: rule.clone(),
                }));
            }
        }
        found
    }

    /// The rules that are about a resource.
    fn about<'a>(&'a self, resource: Resource<'a>) -> impl Iterator<Item = &'a BTreeSet<Rule>> {
        let literal = self.by_resource.get(&(resource.kind, Pattern::Literal));
        let prefixed = self.by_resource.get(&(resource.kind, Pattern::Prefixed));
        let exact = literal.and_then(|names| names.get(resource.name));
        let all = literal.filter(|_| resource.name != WILDCARD);
        let all = all.and_then(|names| names.get(WILDCARD));
        let begins = prefixed.into_iter().flat_map(move |names| {
            // What a name starts with sorts before it or is it.
            let upto = names.range::<str, _>((Bound::Unbounded, Bound::Included(resource.name)));
            upto.filter(move |(prefix, _)| resource.name.starts_with(prefix.as_str()))
                .map(|(_, rules)| rules)
        });
        exact.into_iter().chain(all).chain(begins)
    }
}

impl Rule {
    fn is_about(&self, who: Who<'_>) -> bool {
        (self.principal == who.principal || self.principal == ANY_PRINCIPAL)
            && (self.host == WILDCARD || self.host == who.host)
    }

    fn covers(&self, operation: Operation) -> bool {
        self.operation == Operation::All || self.operation == operation
    }
}

impl Filter {
    fn means_resource(&self, kind: ResourceKind, pattern: Pattern, name: &str) -> bool {
        if self.kind.is_some_and(|wanted| wanted != kind) {
            return false;
        }
        let wanted = self.name.as_deref();
        match self.pattern {
            PatternFilter::Exact(exact) => {
                exact == pattern && wanted.is_none_or(|wanted| wanted == name)
            }
            PatternFilter::Any => wanted.is_none_or(|wanted| wanted == name),
            PatternFilter::Match => wanted.is_none_or(|wanted| match pattern {
                Pattern::Literal => name == wanted || name == WILDCARD,
                Pattern::Prefixed => wanted.starts_with(name),
            }),
        }
    }

    fn means_rule(&self, rule: &Rule) -> bool {
        self.principal.as_deref().is_none_or(|wanted| wanted == rule.principal)
            && self.host.as_deref().is_none_or(|wanted| wanted == rule.host)
            && self.operation.is_none_or(|wanted| wanted == rule.operation)
            && self.permission.is_none_or(|wanted| wanted == rule.permission)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `allow|deny principal host operation kind literal|prefixed name`, one per line.
    fn acls(text: &str) -> Acls {
        let mut acls = Acls::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [permission, principal, host, operation, kind, pattern, name] = words[..] else {
                panic!("{line}");
            };
            acls.add(Acl {
                kind: kind_of(kind),
                name: name.into(),
                pattern: match pattern {
                    "literal" => Pattern::Literal,
                    "prefixed" => Pattern::Prefixed,
                    other => panic!("{other}"),
                },
                rule: Rule {
                    principal: format!("User:{principal}"),
                    host: host.into(),
                    operation: operation_of(operation),
                    permission: match permission {
                        "allow" => Permission::Allow,
                        "deny" => Permission::Deny,
                        other => panic!("{other}"),
                    },
                },
            });
        }
        acls
    }

    fn kind_of(name: &str) -> ResourceKind {
        match name {
            "topic" => ResourceKind::Topic,
            "group" => ResourceKind::Group,
            "cluster" => ResourceKind::Cluster,
            other => panic!("{other}"),
        }
    }

    fn operation_of(name: &str) -> Operation {
        let known = (2..=15).filter_map(Operation::from_code);
        known.into_iter().find(|o| format!("{o:?}").eq_ignore_ascii_case(name)).expect(name)
    }

    /// Each question is `principal host operation kind name`, each answer `yes` or `no`.
    #[track_caller]
    fn check(rules: &str, questions: &[(&str, &str)]) {
        let acls = acls(rules);
        for (question, expected) in questions {
            let words: Vec<&str> = question.split_whitespace().collect();
            let [principal, host, operation, kind, name] = words[..] else { panic!("{question}") };
            let principal = format!("User:{principal}");
            let who = Who { principal: &principal, host };
            let resource = Resource { kind: kind_of(kind), name };
            let answer = acls.allow(who, operation_of(operation), resource);
            assert_eq!(if answer { "yes" } else { "no" }, *expected, "{question}\n{rules}");
        }
    }

    #[test]
    fn nothing_is_allowed_without_a_rule() {
        check("", &[("a 1.1.1.1 read topic t", "no"), ("a 1.1.1.1 create cluster c", "no")]);
    }

    #[test]
    fn a_rule_is_about_its_principal_host_operation_and_resource() {
        check(
            "allow a 1.1.1.1 read topic literal t",
            &[
                ("a 1.1.1.1 read topic t", "yes"),
                ("b 1.1.1.1 read topic t", "no"),
                ("a 2.2.2.2 read topic t", "no"),
                ("a 1.1.1.1 write topic t", "no"),
                ("a 1.1.1.1 read topic tt", "no"),
                ("a 1.1.1.1 read group t", "no"),
            ],
        );
    }

    #[test]
    fn wildcards_and_prefixes_take_in_what_they_name() {
        check(
            "allow * * read topic literal *
             allow a * write topic prefixed pay
             allow b * all group prefixed g",
            &[
                ("x 1.1.1.1 read topic any", "yes"),
                ("a 1.1.1.1 write topic pay", "yes"),
                ("a 1.1.1.1 write topic payments", "yes"),
                ("a 1.1.1.1 write topic pa", "no"),
                ("a 1.1.1.1 write topic repay", "no"),
                ("b 1.1.1.1 delete group g1", "yes"),
                ("b 1.1.1.1 delete topic g1", "no"),
            ],
        );
    }

    #[test]
    fn a_deny_beats_every_allow_and_implies_nothing() {
        check(
            "allow a * all topic literal *
             deny a 6.6.6.6 all topic prefixed s
             deny a * read topic literal secret",
            &[
                ("a 1.1.1.1 read topic t", "yes"),
                ("a 1.1.1.1 read topic secret", "no"),
                ("a 1.1.1.1 write topic secret", "yes"),
                // Reading is denied; describing is not.
                ("a 1.1.1.1 describe topic secret", "yes"),
                ("a 6.6.6.6 write topic secret", "no"),
                ("a 6.6.6.6 write topic open", "yes"),
            ],
        );
    }

    #[test]
    fn to_read_write_delete_or_alter_is_to_describe() {
        for operation in ["read", "write", "delete", "alter"] {
            check(
                &format!("allow a * {operation} topic literal t"),
                &[
                    ("a 1.1.1.1 describe topic t", "yes"),
                    ("a 1.1.1.1 describeconfigs topic t", "no"),
                ],
            );
        }
        check(
            "allow a * alterconfigs topic literal t",
            &[("a 1.1.1.1 describeconfigs topic t", "yes"), ("a 1.1.1.1 describe topic t", "no")],
        );
    }

    #[test]
    fn somewhere_to_write_is_enough_unless_denied() {
        for (rules, expected) in [
            ("", false),
            ("allow a * write topic literal t", true),
            ("allow a * read topic literal t", false),
            ("allow b * write topic literal t", false),
            ("allow a * write topic literal t\ndeny a * write topic literal t", false),
            ("allow a * write topic prefixed t\ndeny a * write topic literal t", true),
            ("allow a * write topic prefixed tt\ndeny a * write topic prefixed t", false),
            ("allow a * write topic prefixed t\ndeny a * write topic prefixed tt", true),
            ("allow a * write topic literal *\ndeny a * write topic prefixed t", true),
            ("allow a * write topic literal t\ndeny * * all topic literal *", false),
        ] {
            let who = Who { principal: "User:a", host: "1.1.1.1" };
            let answer = acls(rules).allow_any(who, Operation::Write, ResourceKind::Topic);
            assert_eq!(answer, expected, "{rules}");
        }
    }

    #[test]
    fn a_filter_finds_exactly_what_it_means() {
        let all = acls(
            "allow a * read topic literal t
             deny b * read topic literal t
             allow a * write topic prefixed t
             allow a * read topic literal *
             allow a * read group literal t",
        );
        let topic = || Filter { kind: Some(ResourceKind::Topic), ..Filter::default() };
        let named = |name: &str, pattern| Filter { name: Some(name.into()), pattern, ..topic() };
        for (filter, count) in [
            (Filter::default(), 5),
            (topic(), 4),
            (named("t", PatternFilter::Any), 3),
            (named("t", PatternFilter::Exact(Pattern::Literal)), 2),
            (named("t", PatternFilter::Exact(Pattern::Prefixed)), 1),
            (named("tea", PatternFilter::Match), 2),
            (named("t", PatternFilter::Match), 4),
            (Filter { principal: Some("User:b".into()), ..Filter::default() }, 1),
            (Filter { permission: Some(Permission::Deny), ..Filter::default() }, 1),
            (Filter { operation: Some(Operation::Write), ..Filter::default() }, 1),
            (Filter { host: Some("9.9.9.9".into()), ..Filter::default() }, 0),
        ] {
            assert_eq!(all.find(&filter).len(), count, "{filter:?}");
        }
        let mut fewer = all.clone();
        all.find(&topic()).iter().for_each(|acl| fewer.remove(acl));
        assert_eq!(fewer.len(), 1);
    }
}
