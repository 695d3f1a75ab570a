/* One kernel from C: the RMSNorm of three rows, on the simulated GPU or on the device that is named.
 *
 *     cargo build --release --example 09_c_abi --features sim
 *     cc examples/09_c_abi/main.c target/release/examples/lib09_c_abi.so -lm -o norm && ./norm sim
 */
#include "llama_kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 3, HIDDEN = 256 };

static void check(int32_t status) {
    if (status != LK_OK) {
        fprintf(stderr, "%s\n", lk_error());
        exit(1);
    }
}

/* The upper half of an f32, rounded to nearest even. */
static uint16_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float from_bf16(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A row-major bf16 matrix in memory of the device. */
static lk_tensor matrix(lk_device device, const uint16_t *values, int64_t rows, int64_t width) {
    uint64_t bytes = (uint64_t)(rows * width) * sizeof *values;
    lk_tensor tensor = {NULL, LK_BF16, 2, {rows, width}, {width, 1}};
    check(lk_allocate(device, bytes, &tensor.data));
    check(lk_write(device, tensor.data, values, bytes));
    return tensor;
}

int main(int argc, char **argv) {
    lk_device device;
    lk_properties properties;
    check(lk_open(argc > 1 ? argv[1] : "sim", &device));
    check(lk_get_properties(device, &properties));

    static uint16_t values[TOKENS * HIDDEN], ones[HIDDEN], results[TOKENS * HIDDEN];
    for (int i = 0; i < TOKENS * HIDDEN; i++) values[i] = to_bf16(sinf((float)i * 0.37f));
    for (int i = 0; i < HIDDEN; i++) ones[i] = to_bf16(1.0f);
    lk_tensor x = matrix(device, values, TOKENS, HIDDEN);
    lk_tensor out = matrix(device, results, TOKENS, HIDDEN);
    lk_tensor weight = matrix(device, ones, 1, HIDDEN);
    weight.rank = 1;
    weight.shape[0] = HIDDEN;
    weight.strides[0] = 1;

    check(lk_rms_norm(device, NULL, &x, &weight, 1e-5f, &out));
    check(lk_synchronize(device, NULL));
    check(lk_read(device, results, out.data, sizeof results));
    for (int token = 0; token < TOKENS; token++) {
        float squares = 0;
        for (int i = 0; i < HIDDEN; i++) squares += powf(from_bf16(values[token * HIDDEN + i]), 2);
        float scale = 1 / sqrtf(squares / HIDDEN + 1e-5f);
        for (int i = 0; i < HIDDEN; i++) {
            float expected = from_bf16(values[token * HIDDEN + i]) * scale;
            float result = from_bf16(results[token * HIDDEN + i]);
            if (!(fabsf(result - expected) <= fabsf(expected) / 128)) {
                fprintf(stderr, "token %d, element %d: %f instead of %f\n", token, i, result, expected);
                return 1;
            }
        }
    }
    printf("%d values as expected, on %s\n", TOKENS * HIDDEN, properties.name);
    check(lk_free(device, x.data));
    check(lk_close(device));
    return 0;
}
