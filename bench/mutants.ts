// Mutants of a source file, all in one text: each place that can be wrong becomes `$mutant === n ? wrong : right`, so that a process that has loaded the file once
// can be any of them. Only code in functions is changed: what runs while a module loads is what it was, whichever mutant is asked for.
import ts from "typescript";

export interface Mutant {
  readonly id: number;
  readonly file: string;
  readonly line: number;
  readonly what: string;
}

const SWAPPED = new Map<ts.SyntaxKind, ts.BinaryOperator>([
  [ts.SyntaxKind.EqualsEqualsEqualsToken, ts.SyntaxKind.ExclamationEqualsEqualsToken],
  [ts.SyntaxKind.ExclamationEqualsEqualsToken, ts.SyntaxKind.EqualsEqualsEqualsToken],
  [ts.SyntaxKind.LessThanToken, ts.SyntaxKind.LessThanEqualsToken],
  [ts.SyntaxKind.LessThanEqualsToken, ts.SyntaxKind.LessThanToken],
  [ts.SyntaxKind.GreaterThanToken, ts.SyntaxKind.GreaterThanEqualsToken],
  [ts.SyntaxKind.GreaterThanEqualsToken, ts.SyntaxKind.GreaterThanToken],
  [ts.SyntaxKind.AmpersandAmpersandToken, ts.SyntaxKind.BarBarToken],
  [ts.SyntaxKind.BarBarToken, ts.SyntaxKind.AmpersandAmpersandToken],
]);

/** The other way to ask a list. */
const METHODS: Readonly<Record<string, string>> = { some: "every", every: "some", startsWith: "endsWith", endsWith: "startsWith" };
/** Left out altogether. */
const DROPPED = new Set(["filter", "toLowerCase"]);
/** Words of a judgement and of a reading, each for the one that lets more through. */
const KINDER: Readonly<Record<string, object>> = {
  pending: { state: "ready" },
  failed: { state: "ready" },
  cannotTell: { state: "ready" },
  unknown: { kind: "absent" },
  value: { kind: "absent" },
};
const STRICTER: Readonly<Record<string, object>> = {
  ready: { state: "pending", message: "mutant" },
  absent: { kind: "error", error: "mutant" },
};

/** `first`: the id of its first mutant; those of one run are told apart by it. */
export function mutated(file: string, text: string, first: number): { text: string; mutants: Mutant[] } {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true);
  const mutants: Mutant[] = [];
  const result = ts.transform(source, [
    (context) => (root) => {
      const { factory } = context;
      let depth = 0;
      const json = (content: object): ts.Expression =>
        factory.createParenthesizedExpression(
          factory.createObjectLiteralExpression(
            Object.entries(content).map(([name, word]) =>
              factory.createPropertyAssignment(name, factory.createStringLiteral(String(word))),
            ),
          ),
        );
      const either = (node: ts.Node, right: ts.Expression, wrong: ts.Expression, what: string): ts.Expression => {
        const { line } = source.getLineAndCharacterOfPosition(node.getStart());
        const id = first + mutants.length;
        mutants.push({ id, file, line: line + 1, what });
        const chosen = factory.createBinaryExpression(
          factory.createPropertyAccessExpression(factory.createIdentifier("globalThis"), "$mutant"),
          ts.SyntaxKind.EqualsEqualsEqualsToken,
          factory.createNumericLiteral(id),
        );
        return factory.createParenthesizedExpression(
          factory.createConditionalExpression(
            chosen,
            undefined,
            factory.createParenthesizedExpression(wrong),
            undefined,
            factory.createParenthesizedExpression(right),
          ),
        );
      };
      const decided = (node: ts.Node, condition: ts.Expression): ts.Expression =>
        either(node, either(node, condition, factory.createTrue(), "condition is true"), factory.createFalse(), "condition is false");

      const visit = (node: ts.Node): ts.Node => {
        if (ts.isTypeNode(node) || ts.isImportDeclaration(node) || ts.isInterfaceDeclaration(node)) return node;
        const inside = ts.isFunctionLike(node);
        if (inside) depth++;
        const seen = ts.visitEachChild(node, visit, context);
        if (inside) depth--;
        return depth === 0 || inside ? seen : changed(node, seen);
      };

      const changed = (node: ts.Node, seen: ts.Node): ts.Node => {
        if (ts.isIfStatement(node) && ts.isIfStatement(seen))
          return factory.updateIfStatement(seen, decided(node.expression, seen.expression), seen.thenStatement, seen.elseStatement);
        if (ts.isConditionalExpression(node) && ts.isConditionalExpression(seen))
          return factory.updateConditionalExpression(
            seen,
            decided(node.condition, seen.condition),
            seen.questionToken,
            seen.whenTrue,
            seen.colonToken,
            seen.whenFalse,
          );
        if (ts.isBinaryExpression(node) && ts.isBinaryExpression(seen)) {
          const other = SWAPPED.get(node.operatorToken.kind);
          if (other === undefined) return seen;
          const wrong = factory.createBinaryExpression(seen.left, other, seen.right);
          return either(node, seen, wrong, `${node.operatorToken.getText()} is ${ts.tokenToString(other)}`);
        }
        if (ts.isPrefixUnaryExpression(node) && ts.isPrefixUnaryExpression(seen) && node.operator === ts.SyntaxKind.ExclamationToken)
          return either(node, seen, seen.operand, "! is left out");
        if (ts.isCallExpression(node) && ts.isCallExpression(seen)) return changedCall(node, seen);
        if (ts.isIdentifier(node) && node.text in STRICTER && isAnswer(node))
          return either(node, node, json(STRICTER[node.text] ?? {}), `${node.text} is stricter`);
        return seen;
      };

      const changedCall = (node: ts.CallExpression, seen: ts.CallExpression): ts.Node => {
        const called = node.expression;
        if (ts.isIdentifier(called) && called.text in KINDER)
          return either(node, seen, json(KINDER[called.text] ?? {}), `${called.text}() is kinder`);
        if (!ts.isPropertyAccessExpression(called) || !ts.isPropertyAccessExpression(seen.expression)) return seen;
        const { name } = called;
        if (DROPPED.has(name.text)) return either(node, seen, seen.expression.expression, `.${name.text}() is left out`);
        const other = METHODS[name.text];
        if (other === undefined) return seen;
        const access = factory.updatePropertyAccessExpression(seen.expression, seen.expression.expression, factory.createIdentifier(other));
        return either(node, seen, factory.updateCallExpression(seen, access, undefined, seen.arguments), `.${name.text}() is .${other}()`);
      };
      return ts.visitNode(root, visit, ts.isSourceFile);
    },
  ]);
  const [transformed] = result.transformed;
  if (transformed === undefined) throw new Error(`${file} could not be mutated`);
  return { text: ts.createPrinter().printFile(transformed), mutants };
}

/** A value that is given back, not a name of something. */
const isAnswer = ({ parent }: ts.Identifier): boolean =>
  ts.isReturnStatement(parent) ||
  ts.isConditionalExpression(parent) ||
  (ts.isArrowFunction(parent) && parent.body.kind === ts.SyntaxKind.Identifier);
