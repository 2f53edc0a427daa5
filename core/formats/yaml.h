/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML (libyaml) to JSON values. One document; scalars typed by the core schema of YAML 1.2, so `yes` is a string;
 * no anchors, aliases or tags; keys are strings and differ; depth and size are limited.
 */
#ifndef LOCKSTEP_CORE_FORMATS_YAML_H
#define LOCKSTEP_CORE_FORMATS_YAML_H

#include "core/base/status.h"

#include <jansson.h>
#include <stddef.h>

/* Reads text. name is for messages, which give the line. An empty document is null. *lines (lines may be NULL) is an
 * object that says for each key path ("data.train.format", "metrics.0") the line it is on. Both are returned;
 * json_decref ends them. */
enum ls_status ls_yaml_parse(const char *text, size_t length, const char *name, json_t **value, json_t **lines,
                             struct ls_error *err);

#endif
