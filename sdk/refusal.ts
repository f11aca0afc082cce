// How this package ends a program: with a sentence.
import * as pulumi from "@pulumi/pulumi";

/** Pulumi prints a RunError without its stack, yet formats it with all that hangs on it, which has taken 15 s (Node 20): so it has none. */
export function refusal(message: string): Error {
  const error = new pulumi.RunError(message);
  error.stack = "";
  return error;
}
