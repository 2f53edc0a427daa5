/* SPDX-License-Identifier: Apache-2.0 */
/* The questions of known_answer.h, as a table. */
#ifndef LOCKSTEP_CORE_DEVICE_KNOWN_ANSWER_INTERNAL_H
#define LOCKSTEP_CORE_DEVICE_KNOWN_ANSWER_INTERNAL_H

#include "core/device/device.h"

#define LSI_QUESTION_CLASSES 19 /* columns of most operands: no multiple of a vector */

/* What is asked: an op of enum ls_op, or one of these. */
enum lsi_question_kind {
    LSI_ARITHMETIC = LS_OP_COUNT,
    LSI_SGD,
    LSI_ADAM,
    LSI_TREE_SUM,
    LSI_TREE_MOMENTS,
    LSI_FINGERPRINT,
    LSI_QUESTION_KINDS
};

struct lsi_operand {
    enum ls_dtype dtype;
    struct ls_shape shape;
    bool positive; /* f32 without a sign: variances */
};

struct lsi_question {
    int what;
    int variant;    /* tells questions of one op apart */
    const char *in; /* operands by letter */
    char out;
    int64_t samples; /* of the call's shards; 0: it has none */
    float scale;     /* of values that are not denormal, a power of two; 0: 1 */
    struct ls_op_attrs attrs;
    uint64_t expected; /* by the reference; never changes within a version of the numerics */
};

extern const struct lsi_question lsi_questions[];
extern const int lsi_question_count;
/* The operand that a letter stands for. */
const struct lsi_operand *lsi_question_operand(char letter);

#endif
