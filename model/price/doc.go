// Package price knows what models cost and how large their windows are: a dated
// table that is built in, and what a tenant lays over it.
//
// The table is the data of genai-prices (https://github.com/pydantic/genai-prices,
// MIT, LICENSE.genai-prices), converted by scripts/prices. It is read more strictly
// than by its source: a model is priced if the table has exactly its name, or its
// name followed by a date. One that merely begins like another is not priced, and
// has the highest rates of its provider as a bound.
package price
