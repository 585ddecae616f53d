// The types that a module infers from its zod schemas, written out, so that whoever uses them needs no zod.
import ts from 'typescript'

/**
 * Declarations of a module's exported types: `z.infer<…>` and its like are replaced by what they stand for, with the
 * comments of the schema's members; all else is as in the source. Consts and functions are left out.
 */
export function plainTypes(file) {
  const program = ts.createProgram([file], {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2023,
    strict: true,
    types: [],
  })
  const source = program.getSourceFile(file)
  const checker = program.getTypeChecker()
  const { transformed } = ts.transform(source, [(context) => writeOut(checker, context)])
  return ts.createPrinter().printFile(transformed[0])
}

function writeOut(checker, context) {
  const visit = (node) => {
    if (!isInferred(node)) return ts.visitEachChild(node, visit, context)
    const type = checker.getTypeFromTypeNode(node)
    const flags = ts.NodeBuilderFlags.NoTruncation | ts.NodeBuilderFlags.InTypeAlias
    const literal = checker.typeToTypeNode(type, undefined, flags | ts.NodeBuilderFlags.MultilineObjectLiterals)
    return ts.isTypeLiteralNode(literal) ? withComments(literal, type, checker) : literal
  }
  return (file) => {
    const statements = file.statements.flatMap(typesOnly).map((node) => ts.visitNode(node, visit))
    return ts.factory.updateSourceFile(file, statements)
  }
}

function withComments(literal, type, checker) {
  for (const member of literal.members) {
    const symbol = type.getProperty(member.name.text)
    const words = ts.displayPartsToString(symbol?.getDocumentationComment(checker))
    if (words) {
      const comment = `* ${words.replaceAll('\n', '\n * ')} `
      ts.addSyntheticLeadingComment(member, ts.SyntaxKind.MultiLineCommentTrivia, comment, true)
    }
  }
  return literal
}

/** A type of zod's own namespace, as in `z.infer<typeof runSchema>`. */
function isInferred(node) {
  return ts.isTypeReferenceNode(node) && ts.isQualifiedName(node.typeName) && node.typeName.left.getText() === 'z'
}

/** What of a statement concerns types: an exported type, or the types that are imported from a module beside it. */
function typesOnly(node) {
  if (ts.isTypeAliasDeclaration(node) || ts.isInterfaceDeclaration(node))
    return node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) ? [node] : []
  if (!ts.isImportDeclaration(node) || !node.moduleSpecifier.text.startsWith('.')) return []
  const { isTypeOnly, namedBindings } = node.importClause
  const names = namedBindings.elements.filter((element) => isTypeOnly || element.isTypeOnly)
  if (names.length === 0) return []
  const imported = names.map(({ propertyName, name }) => ts.factory.createImportSpecifier(false, propertyName, name))
  const clause = ts.factory.createImportClause(true, undefined, ts.factory.createNamedImports(imported))
  return [ts.factory.createImportDeclaration(undefined, clause, node.moduleSpecifier)]
}
