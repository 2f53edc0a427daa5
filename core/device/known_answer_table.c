/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The questions and their answers. Sizes are no multiples of a vector or a tile, a sum passes a block of 256, shards
 * are uneven. A new question goes to the end of its group; an answer changes with the version of the numerics only.
 */
#include "core/device/known_answer_internal.h"

#include <assert.h>
#include <stddef.h>

#define ROWS 37
#define COLUMNS LSI_QUESTION_CLASSES
/* 3 x 3 over 7 x 6 images, "same". */
#define CONV \
    .stride = {1, 1}, .dilation = {1, 1}, .pad_begin = {1, 1}, .pad_end = {1, 1}, .kernel = {3, 3}, .x_size = {7, 6}
#define POOL .size = {2, 2}, .stride = {2, 2}
#define SHAPE(...)                                                                                \
    {                                                                                             \
        .rank = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = { __VA_ARGS__ } \
    }

static const struct lsi_operand operands[128] = {
    ['e'] = {LS_F32, SHAPE(ROWS, COLUMNS), false},
    ['h'] = {LS_BF16, SHAPE(ROWS, COLUMNS), false},
    ['E'] = {LS_I64, SHAPE(ROWS, COLUMNS), false},
    ['V'] = {LS_F32, SHAPE(ROWS, COLUMNS), true},
    ['n'] = {LS_F32, SHAPE(ROWS), false},
    ['N'] = {LS_I64, SHAPE(ROWS), false},
    ['I'] = {LS_I64, SHAPE(ROWS), false},
    ['l'] = {LS_I32, SHAPE(ROWS), false},
    ['c'] = {LS_F32, SHAPE(COLUMNS), false},
    ['v'] = {LS_F32, SHAPE(COLUMNS), true},
    ['m'] = {LS_F32, SHAPE(3, COLUMNS), false},
    ['S'] = {LS_F32, SHAPE(8, COLUMNS), false}, /* running sums of shards */
    ['d'] = {LS_F64, {.rank = 0}, false},
    ['j'] = {LS_I64, {.rank = 0}, false},
    ['x'] = {LS_F32, SHAPE(18, 300), false}, /* of a dense layer */
    ['w'] = {LS_F32, SHAPE(300, 35), false},
    ['t'] = {LS_F32, SHAPE(35, 300), false},
    ['b'] = {LS_F32, SHAPE(35), false},
    ['y'] = {LS_F32, SHAPE(18, 35), false},
    ['i'] = {LS_F32, SHAPE(2, 7, 6, 5), false}, /* images */
    ['k'] = {LS_F32, SHAPE(3, 3, 5, 18), false},
    ['g'] = {LS_F32, SHAPE(18), false},
    ['o'] = {LS_F32, SHAPE(2, 7, 6, 18), false},
    ['q'] = {LS_F32, SHAPE(2, 3, 3, 5), false},
    ['a'] = {LS_F32, SHAPE(2, 5), false},
};

const struct lsi_operand *lsi_question_operand(char letter)
{
    assert(letter > 0 && operands[(int)letter].dtype != 0);
    return &operands[(int)letter];
}

const struct lsi_question lsi_questions[] = {
    {.what = LSI_ARITHMETIC, .expected = UINT64_C(0x36332f1c568ee913)},
    /* element-wise */
    {.what = LS_OP_ADD, .in = "ee", .out = 'e', .expected = UINT64_C(0x9811d1400b77e77e)},
    {.what = LS_OP_SUB, .in = "ee", .out = 'e', .expected = UINT64_C(0xad483a4012b60a94)},
    {.what = LS_OP_MUL, .in = "ee", .out = 'e', .expected = UINT64_C(0x67748a6be5df39c8)},
    {.what = LS_OP_DIV, .in = "ee", .out = 'e', .expected = UINT64_C(0xb9fc8a750786c3f6)},
    {.what = LS_OP_ADD, .variant = 1, .in = "ec", .out = 'e', .expected = UINT64_C(0x786ff22cd0ffe120)},
    {.what = LS_OP_MAXIMUM, .in = "ee", .out = 'e', .expected = UINT64_C(0x2497d6c058bc85a7)},
    {.what = LS_OP_MINIMUM, .in = "ee", .out = 'e', .expected = UINT64_C(0xd0d20e42263ba73a)},
    {.what = LS_OP_SELECT_GE, .in = "eeee", .out = 'e', .expected = UINT64_C(0x062a0681af8b00f3)},
    {.what = LS_OP_NEG, .in = "e", .out = 'e', .expected = UINT64_C(0x13461147a8e2a23b)},
    {.what = LS_OP_EXP, .in = "e", .out = 'e', .scale = 64.0f, .expected = UINT64_C(0x22673ff8d1bbab8c)},
    {.what = LS_OP_LOG, .in = "e", .out = 'e', .scale = 0x1p20f, .expected = UINT64_C(0x19865b0a4b5861f8)},
    {.what = LS_OP_TANH, .in = "e", .out = 'e', .scale = 8.0f, .expected = UINT64_C(0xc1f4b8734a033fc9)},
    {.what = LS_OP_SQRT, .in = "e", .out = 'e', .expected = UINT64_C(0xa858920d0524ecb6)},
    {.what = LS_OP_RELU, .in = "e", .out = 'e', .expected = UINT64_C(0x06944c0f5dae9f46)},
    {.what = LS_OP_RELU_GRAD, .in = "ee", .out = 'e', .expected = UINT64_C(0x0e2aa752e6ceacde)},
    {.what = LS_OP_SIGMOID, .in = "e", .out = 'e', .scale = 64.0f, .expected = UINT64_C(0x7b6d482f0e4eaf3c)},
    {.what = LS_OP_AFFINE,
     .in = "e",
     .out = 'e',
     .attrs = {.affine = {.scale = 0x1.010102p-8f, .offset = -0.5f}},
     .expected = UINT64_C(0xb85d541e19900740)},
    {.what = LS_OP_CAST,
     .in = "e",
     .out = 'h',
     .attrs = {.cast = {.dtype = LS_BF16}},
     .expected = UINT64_C(0x18f7fe1362238fd2)},
    {.what = LS_OP_CAST,
     .variant = 1,
     .in = "h",
     .out = 'e',
     .attrs = {.cast = {.dtype = LS_F32}},
     .expected = UINT64_C(0xd2943cd358cd62b7)},
    {.what = LS_OP_DROPOUT,
     .in = "e",
     .out = 'e',
     .samples = 37,
     .attrs = {.dropout = {.rate = 0.25f, .stream = 3, .call = 1}},
     .expected = UINT64_C(0x27d5d957dc18938b)},
    /* products */
    {.what = LS_OP_DENSE,
     .in = "xwb",
     .out = 'y',
     .attrs = {.dense = {.activation = LS_ACTIVATION_RELU}},
     .expected = UINT64_C(0x7d24d854363bd108)},
    {.what = LS_OP_DENSE,
     .variant = 1,
     .in = "xt",
     .out = 'y',
     .attrs = {.dense = {.transposed_w = true}},
     .expected = UINT64_C(0x4c8e5a4bc66e070b)},
    {.what = LS_OP_DENSE_WGRAD, .in = "xy", .out = 'w', .samples = 18, .expected = UINT64_C(0xe64a8b1946acc834)},
    /* convolution and pooling */
    {.what = LS_OP_CONV2D,
     .in = "ikg",
     .out = 'o',
     .attrs = {.conv2d = {CONV, .activation = LS_ACTIVATION_RELU}},
     .expected = UINT64_C(0x4b1e26b03807d2e6)},
    {.what = LS_OP_CONV2D_XGRAD,
     .in = "ok",
     .out = 'i',
     .attrs = {.conv2d = {CONV}},
     .expected = UINT64_C(0x2d429d8ac90c27b6)},
    {.what = LS_OP_CONV2D_WGRAD,
     .in = "io",
     .out = 'k',
     .samples = 2,
     .attrs = {.conv2d = {CONV}},
     .expected = UINT64_C(0x0e01208bf7ec775e)},
    {.what = LS_OP_MAX_POOL2D,
     .in = "i",
     .out = 'q',
     .attrs = {.pool2d = {POOL}},
     .expected = UINT64_C(0xe7a30e65a5e0dadc)},
    {.what = LS_OP_MAX_POOL2D_GRAD,
     .in = "iq",
     .out = 'i',
     .attrs = {.pool2d = {POOL}},
     .expected = UINT64_C(0xc6b154877cff2292)},
    {.what = LS_OP_AVG_POOL_GLOBAL, .in = "i", .out = 'a', .expected = UINT64_C(0xd5d187047baa7675)},
    {.what = LS_OP_AVG_POOL_GLOBAL_GRAD,
     .in = "a",
     .out = 'i',
     .attrs = {.avg_pool_grad = {.h = 7, .w = 6}},
     .expected = UINT64_C(0xdd3abee95ee7d480)},
    /* batch */
    {.what = LS_OP_ROW_SUM, .in = "e", .out = 'c', .samples = 37, .expected = UINT64_C(0xfd5a5b9b406ea0ce)},
    {.what = LS_OP_ROW_DOT, .in = "ee", .out = 'c', .samples = 37, .expected = UINT64_C(0x45c8c08f815f3e69)},
    {.what = LS_OP_SHARD_TREE, .in = "S", .out = 'c', .samples = 37, .expected = UINT64_C(0x512541f65a68ce1e)},
    {.what = LS_OP_SUM_F64, .in = "n", .out = 'd', .samples = 37, .expected = UINT64_C(0xb53340d5ae384034)},
    {.what = LS_OP_SUM_I64, .in = "I", .out = 'j', .samples = 37, .expected = UINT64_C(0xf5fd9540c2250d12)},
    {.what = LS_OP_MOMENTS, .in = "e", .out = 'm', .samples = 37, .expected = UINT64_C(0x430fea8ae082aca1)},
    {.what = LS_OP_BN_APPLY,
     .in = "ecvcc",
     .out = 'e',
     .attrs = {.bn = {.epsilon = 0x1p-10f}},
     .expected = UINT64_C(0x3621b7d1cdf29991)},
    {.what = LS_OP_BN_XHAT,
     .in = "ecv",
     .out = 'e',
     .attrs = {.bn = {.epsilon = 0x1p-10f}},
     .expected = UINT64_C(0xc2fb4124cca8818d)},
    {.what = LS_OP_BN_XGRAD,
     .in = "eevcccv",
     .out = 'e',
     .attrs = {.bn = {.epsilon = 0x1p-10f}},
     .expected = UINT64_C(0xaf2e3e80980c239e)},
    /* rows */
    {.what = LS_OP_SOFTMAX, .in = "e", .out = 'e', .scale = 8.0f, .expected = UINT64_C(0x8be791c94617b40e)},
    {.what = LS_OP_SOFTMAX_GRAD, .in = "ee", .out = 'e', .expected = UINT64_C(0x9d288ad001fb554a)},
    {.what = LS_OP_ROW_REDUCE_SUM, .in = "e", .out = 'n', .expected = UINT64_C(0x7571545006602b85)},
    {.what = LS_OP_ROW_BROADCAST,
     .in = "n",
     .out = 'e',
     .attrs = {.rows = {.count = LSI_QUESTION_CLASSES}},
     .expected = UINT64_C(0x8bfd03636a12df13)},
    {.what = LS_OP_SPARSE_SOFTMAX_XENT,
     .in = "el",
     .out = 'n',
     .scale = 8.0f,
     .expected = UINT64_C(0xd089fce58d6a6011)},
    {.what = LS_OP_SPARSE_SOFTMAX_XENT_GRAD,
     .in = "eln",
     .out = 'e',
     .scale = 8.0f,
     .expected = UINT64_C(0x29da7bfe61dc7abe)},
    {.what = LS_OP_SOFTMAX_XENT, .in = "ee", .out = 'n', .expected = UINT64_C(0xb1743d21d9952294)},
    {.what = LS_OP_SOFTMAX_XENT_GRAD, .in = "een", .out = 'e', .expected = UINT64_C(0x219b558294af0544)},
    {.what = LS_OP_SIGMOID_XENT, .in = "ee", .out = 'e', .expected = UINT64_C(0xa8ddf6b9dcfc31d0)},
    {.what = LS_OP_SIGMOID_XENT_GRAD, .in = "eee", .out = 'e', .expected = UINT64_C(0x87f19a5bb33fb9bf)},
    {.what = LS_OP_SPARSE_HIT, .in = "el", .out = 'N', .expected = UINT64_C(0x8ce9059eb86ebb31)},
    {.what = LS_OP_DENSE_HIT, .in = "ee", .out = 'N', .expected = UINT64_C(0xf892ddf03594d46a)},
    {.what = LS_OP_BINARY_HIT,
     .in = "ee",
     .out = 'E',
     .attrs = {.hit = {.threshold = 0.5f}},
     .expected = UINT64_C(0xf8d9637ad636c8b8)},
    {.what = LS_OP_GATHER_ROWS, .in = "el", .out = 'n', .expected = UINT64_C(0x2bf963cbbd149028)},
    {.what = LS_OP_SCATTER_ROWS,
     .in = "nl",
     .out = 'e',
     .attrs = {.rows = {.count = LSI_QUESTION_CLASSES}},
     .expected = UINT64_C(0x7d2901f5dd88c795)},
    {.what = LS_OP_TRANSPOSE2D, .in = "w", .out = 't', .expected = UINT64_C(0x5114010e9fc52060)},
    /* sweeps */
    {.what = LSI_SGD, .expected = UINT64_C(0x650f0725e51c8271)},
    {.what = LSI_ADAM, .expected = UINT64_C(0x531069a63407ac6b)},
    {.what = LSI_TREE_SUM, .expected = UINT64_C(0x5b2d5d89e0a92ea3)},
    {.what = LSI_TREE_MOMENTS, .expected = UINT64_C(0xb817d9a06b254d12)},
    {.what = LSI_FINGERPRINT, .expected = UINT64_C(0x7b903ff366fb83a6)},
};
const int lsi_question_count = (int)(sizeof lsi_questions / sizeof lsi_questions[0]);
