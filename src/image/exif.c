/* exif.c: which way is up. Cameras store the sensor's rows and write down how the camera was held: in an EXIF block
 * (a small TIFF file) or, after some editors, in an XMP packet (XML). Damaged metadata never costs the picture: it
 * counts as absent. */
#include "image/decode.h"

#include <string.h>

enum {
    TAG_ORIENTATION = 0x0112,
    TYPE_SHORT = 3,
    TYPE_LONG = 4,
    TYPE_SIGNED_SHORT = 8,
    TYPE_SIGNED_LONG = 9,
    IFD_ENTRY_BYTES = 12
};

static uint32_t read_16(const uint8_t *p, bool big_endian) { return big_endian ? b2_read_be16(p) : b2_read_le16(p); }
static uint32_t read_32(const uint8_t *p, bool big_endian) { return big_endian ? b2_read_be32(p) : b2_read_le32(p); }

/* Of a directory entry (tag, type, count, value); 0 where it is none, or lies elsewhere. */
static int read_entry(const uint8_t *entry, bool big_endian) {
    const uint32_t type = read_16(entry + 2, big_endian), count = read_32(entry + 4, big_endian);
    const bool is_short = type == TYPE_SHORT || type == TYPE_SIGNED_SHORT,
               is_long = type == TYPE_LONG || type == TYPE_SIGNED_LONG;
    if (read_16(entry, big_endian) != TAG_ORIENTATION || count < 1) return B2_ORIENTATION_ABSENT;
    if (!(is_short && count <= 2) && !(is_long && count == 1)) return B2_ORIENTATION_ABSENT;
    const uint32_t value = is_short ? read_16(entry + 8, big_endian) : read_32(entry + 8, big_endian);
    return value >= 2 && value <= 8 ? (int)value : B2_UPRIGHT;
}

/* The first entry that can be read counts. */
int b2_exif_find_orientation(const uint8_t *bytes, size_t n_bytes) {
    while (n_bytes >= 6 && memcmp(bytes, "Exif\0", 6) == 0) {
        bytes += 6;
        n_bytes -= 6;
    }
    if (n_bytes < 8) return B2_ORIENTATION_ABSENT;
    const bool big_endian = memcmp(bytes, "MM\0*", 4) == 0;
    if (!big_endian && memcmp(bytes, "II*\0", 4) != 0) return B2_ORIENTATION_ABSENT;
    const size_t directory = read_32(bytes + 4, big_endian);
    if (directory > n_bytes - 2) return B2_ORIENTATION_ABSENT;

    const size_t n_entries = read_16(bytes + directory, big_endian);
    for (size_t i = 0; i < n_entries; i++) {
        const size_t at = directory + 2 + i * IFD_ENTRY_BYTES;
        if (at > n_bytes || n_bytes - at < IFD_ENTRY_BYTES) break;
        const int orientation = read_entry(bytes + at, big_endian);
        if (orientation != B2_ORIENTATION_ABSENT) return orientation;
    }
    return B2_ORIENTATION_ABSENT;
}

/* The packet holds tiff:Orientation="6" or <tiff:Orientation>6</tiff:Orientation>. */
int b2_xmp_find_orientation(const uint8_t *bytes, size_t n_bytes) {
    static const char key[] = "tiff:Orientation";
    const size_t key_len = sizeof key - 1;
    for (size_t i = 0; n_bytes - i >= key_len + 3; i++) {
        if (bytes[i] != 't' || memcmp(bytes + i, key, key_len) != 0) continue;
        const uint8_t *value = bytes + i + key_len;
        const size_t left = n_bytes - i - key_len;
        if (value[0] == '>') value += 1;
        else if (left >= 3 && value[0] == '=' && value[1] == '"') value += 2;
        else continue;
        if (*value < '0' || *value > '9') continue;
        return *value >= '2' && *value <= '8' ? *value - '0' : B2_UPRIGHT;
    }
    return B2_ORIENTATION_ABSENT;
}

int b2_choose_orientation(int exif, int xmp) {
    if (exif != B2_ORIENTATION_ABSENT) return exif;
    return xmp != B2_ORIENTATION_ABSENT ? xmp : B2_UPRIGHT;
}

bool b2_jpeg_can_hold(const b2_decoding *d, size_t width, size_t height) {
    return d->options->read_truncated || width / 8 * (height / 8) / 8 <= d->n_bytes;
}

/* Segments are FF, a marker, a big-endian length that counts itself, and data; the first scan ends the metadata. */
int b2_jpeg_find_orientation(const uint8_t *bytes, size_t n_bytes, int *n_components) {
    enum { MARKER_APP1 = 0xE1, MARKER_SOS = 0xDA, MARKER_EOI = 0xD9, MARKER_RST0 = 0xD0, MARKER_SOI = 0xD8 };
    static const char exif_id[] = "Exif\0", xmp_id[] = "http://ns.adobe.com/xap/1.0/"; /* both with the final NUL */
    int exif = B2_ORIENTATION_ABSENT, xmp = B2_ORIENTATION_ABSENT;
    bool exif_seen = false;
    size_t at = 2;
    *n_components = 0;
    while (at <= n_bytes && n_bytes - at >= 4) {
        const uint8_t marker = bytes[at + 1];
        const bool stray = bytes[at] != 0xFF || marker == 0xFF; /* junk or fill bytes between segments */
        if (stray || marker == 0x00 || (marker >= MARKER_RST0 && marker <= MARKER_SOI)) {
            at += stray ? 1 : 2;
            continue;
        }
        if (marker == MARKER_SOS || marker == MARKER_EOI) break;
        const size_t len = b2_read_be16(bytes + at + 2);
        if (len < 2 || len > n_bytes - at - 2) break;
        const uint8_t *data = bytes + at + 4;
        const size_t n_data = len - 2;
        if (marker == MARKER_APP1 && n_data >= sizeof exif_id && memcmp(data, exif_id, sizeof exif_id) == 0) {
            if (!exif_seen) exif = b2_exif_find_orientation(data, n_data);
            exif_seen = true; /* what follows continues an oversized block: the first directory is in the first part */
        } else if (marker == MARKER_APP1 && n_data >= sizeof xmp_id && memcmp(data, xmp_id, sizeof xmp_id) == 0) {
            xmp = b2_xmp_find_orientation(data + sizeof xmp_id, n_data - sizeof xmp_id);
        }
        const bool is_frame = marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
        if (is_frame && n_data >= 6) *n_components = data[5];
        at += 2 + len;
    }
    return b2_choose_orientation(exif, xmp);
}
