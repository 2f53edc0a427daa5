/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON over jansson: strict reading (no duplicate keys, bounded), and the canonical form of RFC 8785 (keys sorted by
 * UTF-16 code units, numbers as ECMAScript prints them), on which fingerprints rest.
 */
#ifndef LOCKSTEP_CORE_FORMATS_JSON_H
#define LOCKSTEP_CORE_FORMATS_JSON_H

#include "core/base/buf.h"

#include <jansson.h>

/* Reads one JSON value that is all of the text. name is for messages, which give line and column. *value is
 * returned; json_decref ends it. */
enum ls_status ls_json_parse(const char *text, size_t length, const char *name, json_t **value, struct ls_error *err);
/* Appends the canonical form. Integers beyond 2^53 are rounded to a double as the RFC has it. */
enum ls_status ls_json_canonical(const json_t *value, struct ls_buf *buf, struct ls_error *err);
/* The same as a terminated string. Returned: ls_free. */
enum ls_status ls_json_canonical_text(const json_t *value, char **text, struct ls_error *err);
/* Compact text with sorted keys that keeps 64-bit integers whole (so it is not RFC 8785). Returned: ls_free. */
enum ls_status ls_json_compact_text(const json_t *value, char **text, struct ls_error *err);
/* A finite number as ECMAScript's Number::toString prints it (shortest digits that read back), into text. */
void ls_json_number(double number, char text[32]);

#endif
