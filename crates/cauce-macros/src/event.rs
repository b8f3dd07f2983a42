//! The `impl cauce::Event` that the derive writes.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Ident, LitStr, Result};

use crate::attributes::{Attributes, Codec};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let attributes = Attributes::parse(input)?;
    check_shape(input, &attributes)?;
    let key = attributes.key.as_ref().map(|key| key_method(input, key)).transpose()?;
    let codec = match attributes.codec {
        Codec::Json => quote!(json),
        Codec::Fields => quote!(flat),
    };
    let stream = text(attributes.stream.as_ref());
    let channel = text(attributes.channel.as_ref());
    let action = &attributes.action;
    let partitions = attributes.partitions;
    let name = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::cauce::Event for #name #type_generics #where_clause {
            const STREAM: &'static str = #stream;
            const ACTION: &'static str = #action;
            const CHANNEL: &'static str = #channel;
            const PARTITIONS: u16 = #partitions;

            #key

            fn encode(&self, fields: &mut ::cauce::Fields) -> ::core::result::Result<(), ::cauce::EncodeError> {
                ::cauce::codec::#codec::encode(self, fields)
            }

            fn decode(fields: &::cauce::Fields) -> ::core::result::Result<Self, ::cauce::DecodeError> {
                ::cauce::codec::#codec::decode(fields)
            }

            fn to_body(&self) -> ::core::result::Result<::std::vec::Vec<u8>, ::cauce::EncodeError> {
                ::cauce::codec::json::to_body(self)
            }

            fn from_body(body: &[u8]) -> ::core::result::Result<Self, ::cauce::DecodeError> {
                ::cauce::codec::json::from_body(body)
            }
        }
    })
}

/// The fields codec writes `action` itself: a field of that name would decide which handler gets the event.
fn check_shape(input: &DeriveInput, attributes: &Attributes) -> Result<()> {
    if attributes.codec == Codec::Json {
        return Ok(());
    }
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "the codec \"fields\" writes one field per value of a struct: use a struct, or codec = \"json\"",
        ));
    };
    if !matches!(data.fields, Fields::Named(_)) {
        return Err(Error::new_spanned(
            &input.ident,
            "the codec \"fields\" needs a struct with named fields, or use codec = \"json\"",
        ));
    }
    match data.fields.iter().filter_map(|field| field.ident.as_ref()).find(|name| *name == "action") {
        Some(name) => Err(Error::new_spanned(
            name,
            "the entry's field `action` names the kind of event: give this field another name, or use codec = \"json\"",
        )),
        None => Ok(()),
    }
}

fn key_method(input: &DeriveInput, key: &LitStr) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(
            key.span(),
            "`key` names a field of a struct: use a struct or leave `key` out",
        ));
    };
    let fields: Vec<&Ident> = data.fields.iter().filter_map(|field| field.ident.as_ref()).collect();
    let Some(field) = fields.iter().find(|field| **field == key.value().as_str()) else {
        let known: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
        return Err(Error::new(
            key.span(),
            format!("there is no field `{}`: `key` can be {}", key.value(), known.join(", ")),
        ));
    };
    Ok(quote! {
        fn key(&self) -> ::core::option::Option<::std::string::String> {
            ::core::option::Option::Some(::std::string::ToString::to_string(&self.#field))
        }
    })
}

fn text(value: Option<&LitStr>) -> TokenStream {
    value.map_or_else(|| quote!(""), |value| quote!(#value))
}
