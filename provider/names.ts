// Names that become name_labels, tags and keys on the pool.
import * as z from "zod";

// What XAPI refuses in any parameter (INVALID_VALUE): control characters but tab and line ends, surrogates, and code points that are no characters
// (xen-api ocaml/libs/xapi-stdext/lib/xapi-stdext-encodings/encodings.ml, UTF8_XML; asked in ocaml/idl/ocaml_backend/gen_server.ml).
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const REFUSED = /[\0-\x08\x0b\x0c\x0e-\x1f\p{Surrogate}\p{Noncharacter_Code_Point}]/u;

/** Any text that XAPI takes; blanks around it are nobody's intention. */
export const objectName = (max: number) =>
  z
    .string()
    .trim()
    .min(1)
    .max(max)
    .refine(
      (name) => !REFUSED.test(name),
      "holds a character that XAPI refuses: a control character, half of a pair, or no character at all",
    );
