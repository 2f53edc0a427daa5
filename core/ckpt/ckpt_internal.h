/* SPDX-License-Identifier: Apache-2.0 */
/* Inside core/ckpt: names of files, and the headers of parts. */
#ifndef LOCKSTEP_CORE_CKPT_CKPT_INTERNAL_H
#define LOCKSTEP_CORE_CKPT_CKPT_INTERNAL_H

#include "core/ckpt/manifest.h"

#define LSI_CKPT_MANIFEST "manifest.json"
#define LSI_CKPT_LATEST "LATEST"
#define LSI_CKPT_LOCK "LOCK"

struct ls_file;

/* "<directory>/step-<step><suffix>", suffix "" (committed), ".partial" or ".replaced". Returned: ls_free, NULL when
 * memory is short. */
char *lsi_ckpt_step_path(const char *directory, uint64_t step, const char *suffix);
/* "part-00001-of-00004.safetensors" */
void lsi_ckpt_part_name(int part, int parts, char name[64]);
/* Splits "step-12.partial" into 12 and ".partial" (inside name); false where the name is none of ours. */
bool lsi_ckpt_parse_step(const char *name, uint64_t *step, const char **suffix);
/* Whether directory/name holds a manifest: without one it is left of a removal, or somebody else's. */
bool lsi_ckpt_has_manifest(const char *directory, const char *name);
/* Removes directory/name. A checkpoint becomes ".partial" first, so that whoever dies here leaves none half removed. */
enum ls_status lsi_ckpt_remove_one(const char *directory, const char *name, struct ls_error *err);

/* Reads the header of part `part` from an open file, checks its size and digest against manifest->parts[part], and
 * adds its pieces. */
enum ls_status lsi_part_read_pieces(const struct ls_file *file, int part, struct lsi_manifest *manifest,
                                    struct ls_error *err);
/* Length and JSON of a part's header, checked against manifest->parts[part]. Returned: ls_free. */
enum ls_status lsi_part_read_header(const struct ls_file *file, const struct lsi_part *part, uint8_t **header,
                                    uint64_t *length, struct ls_error *err);

/* Opens one checkpoint directory and verifies every byte. */
enum ls_status lsi_ckpt_open_one(const char *path, struct ls_ckpt **ckpt, struct ls_error *err);

#endif
