//! Function calls, lambdas, MAP(…) and STRUCT(…).

use sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, FunctionArguments, LambdaFunction, OneOrManyWithParens,
};

use super::{Binder, LambdaScope, coerce, error, type_text};
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::functions::{self, Argument, Bindings, Function, FunctionRef, Param};
use crate::expr::{Expr, value};
use crate::types::{SqlType, StructField};

/// An argument before the variant is chosen: lambdas wait for the types of their parameters.
enum Given<'a> {
    Value(Expr),
    Lambda(&'a LambdaFunction),
    /// `f(*)`
    Star,
}

impl Binder<'_> {
    pub(super) fn call(&self, call: &ast::Function) -> Result<Expr> {
        let name = call.name.0.last().map(|part| match part.as_ident() {
            Some(ident) => ident.value.to_uppercase(),
            None => part.to_string().to_uppercase(),
        });
        let name = name.unwrap_or_default();
        let list = match &call.args {
            FunctionArguments::List(list) => list.args.as_slice(),
            _ => &[],
        };
        match name.as_str() {
            "STRUCT" => return self.structure(list),
            "MAP" => return self.map(list),
            _ => {}
        }
        let Some(function) = self.scope.functions().scalar(&name) else {
            return Err(self.misplaced(&name));
        };
        let mut given = Vec::with_capacity(list.len());
        for (i, arg) in list.iter().enumerate() {
            given.push(match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Lambda(lambda))) => {
                    Given::Lambda(lambda)
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                    Given::Value(match unit(&function, i, expr) {
                        Some(unit) => unit,
                        None => self.bind(expr)?,
                    })
                }
                _ => Given::Star,
            });
        }
        self.resolve(function, given)
    }

    /// A call whose arguments are bound already.
    pub(super) fn call_bound(&self, name: &str, args: Vec<Expr>) -> Result<Expr> {
        let function = self.scope.functions().scalar(name);
        let function = function.ok_or_else(|| functions::unknown(name))?;
        self.call_of(function, args)
    }

    /// A call of a function that is known already.
    pub(super) fn call_of(&self, function: FunctionRef, args: Vec<Expr>) -> Result<Expr> {
        self.resolve(function, args.into_iter().map(Given::Value).collect())
    }

    fn resolve(&self, function: FunctionRef, given: Vec<Given<'_>>) -> Result<Expr> {
        let arguments: Vec<Argument> = given
            .iter()
            .enumerate()
            .filter_map(|(i, given)| match given {
                Given::Star => None,
                Given::Lambda(lambda) => Some(Argument::Lambda(lambda.params.iter().count())),
                Given::Value(expr) => Some(classify(&function, i, expr)),
            })
            .collect();
        let (variant, mut bindings) = functions::resolve(&function, &arguments)?;
        let variant = &function.variants[variant];
        let signature = &variant.signature;
        let mismatch = |what: String| {
            error(
                ErrorKind::FunctionArgumentsMismatch,
                format!("{}: {what}", function.name()),
                &format!("DESCRIBE FUNCTION {} lists its variants.", function.name()),
            )
        };
        let count = given.len();
        let mut args: Vec<Option<Expr>> = Vec::with_capacity(count);
        let mut lambdas = vec![];
        for (i, given) in given.into_iter().enumerate() {
            let Some(parameter) = signature.parameter(i, count) else {
                return Err(mismatch("the number of arguments is wrong".into()));
            };
            match given {
                Given::Lambda(lambda) => {
                    lambdas.push((i, lambda, &parameter.param));
                    args.push(None);
                }
                Given::Value(expr) if parameter.param == Param::Any => {
                    expr.typed()?;
                    args.push(Some(expr));
                }
                Given::Value(expr) => {
                    let Some(ty) = parameter.param.resolve(&bindings) else {
                        return Err(error(
                            ErrorKind::UntypedNull,
                            format!("the type of {expr} in {} is unknown", function.name()),
                            "Cast it to the type wanted.",
                        ));
                    };
                    args.push(Some(coerce(expr, &ty)?));
                }
                Given::Star => return Err(mismatch("* is no argument of it".into())),
            }
        }
        for (i, lambda, param) in lambdas {
            args[i] = Some(self.lambda(lambda, param, &mut bindings).map_err(|e| match e {
                LambdaError::Body(e) => e,
                LambdaError::Shape(what) => mismatch(what),
            })?);
        }
        let args: Vec<Expr> = args.into_iter().flatten().collect();
        let ty = match variant.returns {
            Some(rule) => {
                let types: Vec<SqlType> = args.iter().filter_map(Expr::ty).collect();
                Some(rule(&types))
            }
            None => signature.returns.resolve(&bindings),
        };
        let ty = ty.ok_or_else(|| mismatch("the type of the result is unknown".into()))?;
        Ok(Expr::Call { function: function.clone(), args, ty })
    }

    fn lambda(
        &self,
        lambda: &LambdaFunction,
        param: &Param,
        bindings: &mut Bindings,
    ) -> Result<Expr, LambdaError> {
        let Param::Lambda(types, result) = param else {
            return Err(LambdaError::Shape("a lambda stands where a value is needed".into()));
        };
        let names: Vec<String> = match &lambda.params {
            OneOrManyWithParens::One(p) => vec![p.name.value.clone()],
            OneOrManyWithParens::Many(ps) => ps.iter().map(|p| p.name.value.clone()).collect(),
        };
        let mut params = Vec::with_capacity(names.len());
        for (name, ty) in names.into_iter().zip(types) {
            let ty = ty.resolve(bindings).ok_or_else(|| {
                LambdaError::Shape(format!("the type of the lambda's parameter {name} is unknown"))
            })?;
            params.push((name, ty));
        }
        let scope = LambdaScope { params: params.clone(), outer: self.lambdas };
        let inner = Binder { scope: self.scope, lambdas: Some(&scope) };
        let body = inner.bind(&lambda.body).map_err(LambdaError::Body)?;
        let body = match (body.ty(), result.resolve(bindings)) {
            (_, Some(wanted)) => {
                let given = type_text(body.ty().as_ref());
                coerce(body, &wanted).map_err(|_| {
                    LambdaError::Shape(format!("the lambda gives {given}, not {wanted}"))
                })?
            }
            (Some(ty), None) if result.unify(&ty, bindings) => body,
            (ty, None) => {
                let ty = type_text(ty.as_ref());
                return Err(LambdaError::Shape(format!("the lambda cannot give {ty}")));
            }
        };
        Ok(Expr::Lambda { params, body: Box::new(body) })
    }

    fn structure(&self, list: &[FunctionArg]) -> Result<Expr> {
        let mut fields: Vec<(String, Expr)> = Vec::with_capacity(list.len());
        let mut types = Vec::with_capacity(list.len());
        for arg in list {
            let FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } = arg else {
                return Err(error(
                    ErrorKind::Syntax,
                    format!("STRUCT takes name := value, not {arg}"),
                    "Name every field.",
                ));
            };
            if fields.iter().any(|(n, _)| *n == name.value) {
                return Err(error(
                    ErrorKind::DuplicateName,
                    format!("the STRUCT has the field {} twice", name.value),
                    "Rename one.",
                ));
            }
            let bound = self.bind(expr)?;
            types.push(StructField { name: name.value.clone(), ty: bound.typed()? });
            fields.push((name.value.clone(), bound));
        }
        Ok(Expr::Struct { fields, ty: SqlType::Struct(types) })
    }

    fn map(&self, list: &[FunctionArg]) -> Result<Expr> {
        let (mut keys, mut values) = (vec![], vec![]);
        for arg in list {
            let FunctionArg::ExprNamed { name, arg: FunctionArgExpr::Expr(expr), .. } = arg else {
                return Err(error(
                    ErrorKind::Syntax,
                    format!("MAP takes key := value, not {arg}"),
                    "Write MAP(key := value, …).",
                ));
            };
            keys.push(self.bind(name)?);
            values.push(self.bind(expr)?);
        }
        if keys.is_empty() {
            return Err(empty("MAP()"));
        }
        let (keys, key) = super::coerce::to_common(keys, "the keys of MAP")?;
        let (values, item) = super::coerce::to_common(values, "MAP")?;
        Ok(Expr::Map {
            entries: keys.into_iter().zip(values).collect(),
            ty: SqlType::map(key, item),
        })
    }

    /// Why a name is not that of a scalar function.
    fn misplaced(&self, name: &str) -> SqlError {
        if self.scope.functions().is_aggregate(name) {
            return error(
                ErrorKind::MisplacedAggregate,
                format!("the aggregate {name} cannot stand here"),
                "Compute it in an earlier query.",
            );
        }
        if self.scope.functions().is_table_function(name) {
            return error(
                ErrorKind::MisplacedTableFunction,
                format!("the table function {name} cannot stand here"),
                "Apply it in an earlier query over a stream.",
            );
        }
        functions::unknown(name)
    }
}

enum LambdaError {
    Body(SqlError),
    Shape(String),
}

fn empty(what: &str) -> SqlError {
    error(
        ErrorKind::EmptyConstructor,
        format!("{what} is empty, hence has no type"),
        "Give at least one entry.",
    )
}

/// A bare time unit where the function takes one; handed on as a STRING constant.
fn unit(function: &Function, at: usize, expr: &ast::Expr) -> Option<Expr> {
    let ast::Expr::Identifier(word) = expr else { return None };
    let is_unit = word.quote_style.is_none() && functions::unit_ms(&word.value).is_some();
    (is_unit && functions::takes_unit(function, at))
        .then(|| value::string(word.value.to_uppercase()))
}

fn classify(function: &Function, at: usize, expr: &Expr) -> Argument {
    match expr {
        Expr::Literal { value, ty: Some(SqlType::String) } if !value.is_null() => {
            let text = value.try_as_str().flatten().unwrap_or_default();
            if functions::takes_unit(function, at) && functions::unit_ms(text).is_some() {
                Argument::Unit
            } else {
                Argument::Text
            }
        }
        other => other.ty().map_or(Argument::Null, Argument::Typed),
    }
}
