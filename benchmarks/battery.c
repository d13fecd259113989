/* Feeds 32-bit words from standard input to a battery of TestU01 (L'Ecuyer & Simard 2007) and prints its report.

   usage: battery smallcrush|crush < words        needs the library TestU01 (Debian: libtestu01-0-dev)
*/

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <testu01/bbattery.h>
#include <testu01/unif01.h>

enum { WORDS = 1 << 16 };
static uint32_t buffer[WORDS];
static size_t next = 0, end = 0;

static unsigned int next_word(void) {
    if (next == end) {
        end = fread(buffer, sizeof *buffer, WORDS, stdin);
        next = 0;
        if (end == 0) {
            fprintf(stderr, "the words have run out\n");
            exit(3);
        }
    }
    return buffer[next++];
}

int main(int argc, char **argv) {
    if (argc != 2 || (strcmp(argv[1], "smallcrush") && strcmp(argv[1], "crush"))) {
        fprintf(stderr, "usage: %s smallcrush|crush < words\n", argv[0]);
        return 2;
    }
    unif01_Gen *gen = unif01_CreateExternGenBits("training stream", next_word);
    if (strcmp(argv[1], "crush"))
        bbattery_SmallCrush(gen);
    else
        bbattery_Crush(gen);
    unif01_DeleteExternGenBits(gen);
    return 0;
}
