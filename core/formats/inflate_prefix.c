/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first bytes of a gzip file, decoded bit by bit (RFC 1951, RFC 1952; the canonical-code walk of Mark Adler's
 * puff). Slow and small: it exists so that a header can say how large the rest will be before memory is taken for it.
 */
#include "core/formats/inflate.h"

#include <string.h>

#define MAX_BITS 15
#define MAX_CODES 320

struct stream {
    const uint8_t *data;
    size_t length, at;
    uint32_t bits;
    int bit_count;
    bool failed;
    uint8_t *out;
    size_t out_length, out_used;
};

/* Codes of a canonical Huffman code: how many of each length, and symbols in order. */
struct huffman {
    int16_t count[MAX_BITS + 1];
    int16_t symbol[MAX_CODES];
};

static uint32_t take_bits(struct stream *in, int count)
{
    uint32_t value;

    while (in->bit_count < count) {
        if (in->at >= in->length) {
            in->failed = true;
            return 0;
        }
        in->bits |= (uint32_t)in->data[in->at++] << in->bit_count;
        in->bit_count += 8;
    }
    value = in->bits & ((1u << count) - 1);
    in->bits >>= count;
    in->bit_count -= count;
    return value;
}

static int decode(struct stream *in, const struct huffman *code)
{
    int value = 0, first = 0, index = 0;

    for (int length = 1; length <= MAX_BITS && !in->failed; length++) {
        int count = code->count[length];

        value |= (int)take_bits(in, 1);
        if (value - count < first)
            return code->symbol[index + (value - first)];
        index += count;
        first = (first + count) << 1;
        value <<= 1;
    }
    in->failed = true;
    return -1;
}

/* False where the lengths ask for more codes than there are. */
static bool build(struct huffman *code, const uint8_t *lengths, int count)
{
    int16_t offset[MAX_BITS + 2];
    int left = 1;

    memset(code->count, 0, sizeof code->count);
    for (int i = 0; i < count; i++)
        code->count[lengths[i]]++;
    for (int bits = 1; bits <= MAX_BITS; bits++) {
        left = left * 2 - code->count[bits];
        if (left < 0)
            return false;
    }
    offset[1] = 0;
    for (int bits = 1; bits <= MAX_BITS; bits++)
        offset[bits + 1] = (int16_t)(offset[bits] + code->count[bits]);
    for (int i = 0; i < count; i++)
        if (lengths[i] != 0)
            code->symbol[offset[lengths[i]]++] = (int16_t)i;
    code->count[0] = 0;
    return true;
}

static bool full(const struct stream *in)
{
    return in->out_used == in->out_length;
}

static void copy_match(struct stream *in, size_t length, size_t distance)
{
    if (distance > in->out_used) {
        in->failed = true;
        return;
    }
    for (; length > 0 && !full(in); length--, in->out_used++)
        in->out[in->out_used] = in->out[in->out_used - distance];
}

static void read_codes(struct stream *in, const struct huffman *literals, const struct huffman *distances)
{
    static const uint16_t base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                      31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                      2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t far_base[30] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                          33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                          1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};

    while (!in->failed && !full(in)) {
        int symbol = decode(in, literals);
        size_t length;
        int far;

        if (symbol < 0 || symbol == 256)
            return;
        if (symbol < 256) {
            in->out[in->out_used++] = (uint8_t)symbol;
            continue;
        }
        if (symbol > 285) {
            in->failed = true;
            return;
        }
        length = base[symbol - 257] + take_bits(in, extra[symbol - 257]);
        far = decode(in, distances);
        if (far < 0 || far > 29) {
            in->failed = true;
            return;
        }
        copy_match(in, length, far_base[far] + take_bits(in, far < 2 ? 0 : far / 2 - 1));
    }
}

static void read_fixed(struct stream *in)
{
    struct huffman literals, distances;
    uint8_t lengths[288];

    memset(lengths, 8, 144);
    memset(lengths + 144, 9, 112);
    memset(lengths + 256, 7, 24);
    memset(lengths + 280, 8, 8);
    (void)build(&literals, lengths, 288);
    memset(lengths, 5, 30);
    (void)build(&distances, lengths, 30);
    read_codes(in, &literals, &distances);
}

static bool read_lengths(struct stream *in, const struct huffman *code, uint8_t *lengths, int count)
{
    int index = 0;

    while (index < count && !in->failed) {
        int symbol = decode(in, code);
        int repeat = 1;
        uint8_t value = (uint8_t)symbol;

        if (symbol < 0)
            return false;
        if (symbol >= 16) {
            if (symbol == 16 && index == 0)
                return false;
            value = symbol == 16 ? lengths[index - 1] : 0;
            repeat = symbol == 16   ? 3 + (int)take_bits(in, 2)
                     : symbol == 17 ? 3 + (int)take_bits(in, 3)
                                    : 11 + (int)take_bits(in, 7);
        }
        if (index + repeat > count)
            return false;
        memset(lengths + index, value, (size_t)repeat);
        index += repeat;
    }
    return !in->failed;
}

static void read_dynamic(struct stream *in)
{
    static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    struct huffman literals, distances;
    uint8_t lengths[MAX_CODES] = {0};
    int literal_count = 257 + (int)take_bits(in, 5);
    int distance_count = 1 + (int)take_bits(in, 5);
    int code_count = 4 + (int)take_bits(in, 4);

    for (int i = 0; i < code_count; i++)
        lengths[order[i]] = (uint8_t)take_bits(in, 3);
    if (in->failed || literal_count > 286 || distance_count > 30 || !build(&literals, lengths, 19) ||
        !read_lengths(in, &literals, lengths, literal_count + distance_count) ||
        !build(&literals, lengths, literal_count) || !build(&distances, lengths + literal_count, distance_count)) {
        in->failed = true;
        return;
    }
    read_codes(in, &literals, &distances);
}

static void read_stored(struct stream *in)
{
    size_t length;

    in->bits = 0;
    in->bit_count = 0;
    length = take_bits(in, 16);
    if (take_bits(in, 16) != (~length & 0xffff))
        in->failed = true;
    if (in->failed || length > in->length - in->at) {
        /* A short copy is still a prefix. */
        length = in->failed ? 0 : in->length - in->at;
        in->failed = true;
    }
    if (length > in->out_length - in->out_used)
        length = in->out_length - in->out_used;
    memcpy(in->out + in->out_used, in->data + in->at, length);
    in->at += length;
    in->out_used += length;
}

/* Bytes of the gzip header, 0 where it is not whole. */
static size_t gzip_header(const uint8_t *bytes, size_t length)
{
    size_t at = 10;
    uint8_t flags;

    if (length < 18 || bytes[2] != 8 || (bytes[3] & 0xe0) != 0)
        return 0;
    flags = bytes[3];
    if ((flags & 4) != 0)
        at += 2 + (size_t)(bytes[10] | bytes[11] << 8);
    for (uint8_t flag = 8; flag <= 16; flag = (uint8_t)(flag * 2)) {
        if ((flags & flag) == 0)
            continue;
        while (at < length && bytes[at] != 0)
            at++;
        at++;
    }
    if ((flags & 2) != 0)
        at += 2;
    return at < length ? at : 0;
}

enum ls_status ls_inflate_gzip_prefix(const void *bytes, size_t length, void *out, size_t out_length, size_t *got,
                                      struct ls_error *err)
{
    struct stream in = {.data = bytes, .length = length, .out = out, .out_length = out_length};
    bool last = false;

    in.at = ls_inflate_is_gzip(bytes, length) ? gzip_header(bytes, length) : 0;
    if (in.at == 0)
        return ls_error_set(err, LS_ECORRUPT, "its gzip header is damaged or truncated");
    while (!last && !in.failed && !full(&in)) {
        uint32_t type;

        last = take_bits(&in, 1) != 0;
        type = take_bits(&in, 2);
        if (type == 0)
            read_stored(&in);
        else if (type == 1)
            read_fixed(&in);
        else if (type == 2)
            read_dynamic(&in);
        else
            in.failed = true;
    }
    if (in.failed && !full(&in))
        return ls_error_set(err, LS_ECORRUPT, "its compressed data are damaged or truncated");
    *got = in.out_used;
    return LS_OK;
}
