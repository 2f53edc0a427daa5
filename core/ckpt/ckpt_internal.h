/* SPDX-License-Identifier: Apache-2.0 */
/* Inside core/ckpt: names of files, the checks of a part's header, the manifest as a structure. */
#ifndef LOCKSTEP_CORE_CKPT_CKPT_INTERNAL_H
#define LOCKSTEP_CORE_CKPT_CKPT_INTERNAL_H

#include "core/ckpt/ckpt.h"

#define LSI_CKPT_VERSION 1
#define LSI_CKPT_FORMAT "lockstep-checkpoint"
#define LSI_CKPT_MANIFEST "manifest.json"
#define LSI_CKPT_LATEST "LATEST"
#define LSI_CKPT_LOCK "LOCK"
/* Bytes that one CRC-32C covers, counted from the beginning of a piece. */
#define LSI_CKPT_BLOCK ((uint64_t)1 << 20)
/* Steps and generations are JSON numbers. */
#define LSI_CKPT_MAX_STEP ((uint64_t)1 << 53)
#define LSI_CKPT_MAX_PARTS 100000
#define LSI_CKPT_MAX_TENSORS 1000000

/* "<directory>/step-<step><suffix>", suffix "" (committed), ".partial" or ".replaced". Returned: ls_free, NULL when
 * memory is short. */
char *lsi_ckpt_step_path(const char *directory, uint64_t step, const char *suffix);
/* "part-00001-of-00004.safetensors" */
void lsi_ckpt_part_name(int part, int parts, char name[64]);
/* Splits "step-12.partial" into 12 and ".partial" (inside name); false where the name is none of ours. */
bool lsi_ckpt_parse_step(const char *name, uint64_t *step, const char **suffix);

/* A run of elements in a part; ordered by tensor, then begin. */
struct lsi_piece {
    int tensor, part;
    int64_t begin, count;
    uint64_t offset, bytes; /* in the part's file, from its first byte */
    uint32_t *crc;          /* one per block */
};
size_t lsi_piece_blocks(uint64_t bytes);

struct lsi_part {
    uint64_t bytes;
    uint8_t sha256[32]; /* of the header: length and JSON */
};

/* A manifest in memory. tensors[i].path and everything else here is owned; lsi_manifest_deinit ends it. */
struct lsi_manifest {
    uint64_t step, generation;
    char *meta; /* JSON text */
    struct ls_ckpt_tensor *tensors;
    int tensor_count;
    struct lsi_part *parts;
    int part_count;
    struct lsi_piece *pieces;
    int piece_count, piece_capacity;
};
void lsi_manifest_deinit(struct lsi_manifest *manifest);
/* Room for one more piece with its CRCs, zeroed; NULL when memory is short. */
struct lsi_piece *lsi_manifest_add_piece(struct lsi_manifest *manifest, uint64_t bytes);
/* Sorts the pieces and checks that they cover every tensor exactly once. */
enum ls_status lsi_manifest_check_tensors(struct lsi_manifest *manifest, struct ls_error *err);
/* The file's text / a structure from it. Every number is checked before it is used. */
enum ls_status lsi_manifest_write(const struct lsi_manifest *manifest, char **text, struct ls_error *err);
enum ls_status lsi_manifest_parse(const char *text, size_t length, struct lsi_manifest *manifest, struct ls_error *err);

/* CRCs as hexadecimal, 8 digits a block. Returned: ls_free. */
char *lsi_crcs_to_text(const uint32_t *crc, size_t blocks);
/* False where text is not exactly that. */
bool lsi_crcs_from_text(const char *text, uint32_t *crc, size_t blocks);

/* Reads the header of part `part` from an open file, checks its size and digest against manifest->parts[part], and
 * adds its pieces. */
struct ls_file;
enum ls_status lsi_part_read_pieces(const struct ls_file *file, int part, struct lsi_manifest *manifest,
                                    struct ls_error *err);
/* Length and JSON of a part's header, checked against manifest->parts[part]. Returned: ls_free. */
enum ls_status lsi_part_read_header(const struct ls_file *file, const struct lsi_part *part, uint8_t **header,
                                    uint64_t *length, struct ls_error *err);

/* Opens one checkpoint directory and verifies every byte. */
enum ls_status lsi_ckpt_open_one(const char *path, struct ls_ckpt **ckpt, struct ls_error *err);

#endif
