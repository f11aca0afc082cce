// report.schema.json: the JSON schema of the report, generated from its shape. `npm run schema:report` prints it.
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as z from "zod";
import { report } from "./shape.ts";

export const reportSchemaText = (): string =>
  `${JSON.stringify(z.toJSONSchema(report, { target: "draft-2020-12", io: "output" }), null, 2)}\n`;

// Run, not imported.
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
  process.stdout.write(reportSchemaText());
