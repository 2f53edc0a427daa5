/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest of a checkpoint, as a structure and as text. For core/ckpt and its tests. */
#ifndef LOCKSTEP_CORE_CKPT_MANIFEST_H
#define LOCKSTEP_CORE_CKPT_MANIFEST_H

#include "core/ckpt/ckpt.h"

#define LSI_CKPT_VERSION 1
#define LSI_CKPT_FORMAT "lockstep-checkpoint"
/* Bytes that one CRC-32C covers, counted from the beginning of a piece. */
#define LSI_CKPT_BLOCK ((uint64_t)1 << 20)
/* Steps and generations are JSON numbers. */
#define LSI_CKPT_MAX_STEP ((uint64_t)1 << 53)
#define LSI_CKPT_MAX_PARTS 100000
#define LSI_CKPT_MAX_TENSORS 1000000

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

#endif
