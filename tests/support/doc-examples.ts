import { join, relative } from 'node:path'
import ts from 'typescript'

export interface DocumentedMember {
  /** Such as `Session.files` or `Vm0.sessions.create`. */
  name: string
  hasText: boolean
  examples: string[]
  /** A class, function or constant, or a member of one: something that a program calls or reads. */
  isValue: boolean
}

const root = join(import.meta.dirname, '../..')

/** What the package exports, from its doc comments: values with their public members, and its own types. */
export function documentedMembers(): DocumentedMember[] {
  const entry = join(root, 'packages/vm0/src/index.ts')
  const program = ts.createProgram([entry], {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2023,
    customConditions: ['source'],
    skipLibCheck: true,
  })
  const checker = program.getTypeChecker()
  const source = program.getSourceFile(entry)
  const module = source && checker.getSymbolAtLocation(source)
  if (!module) throw new Error(`${entry} could not be read`)
  return checker.getExportsOfModule(module).flatMap((exported) => {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported
    const isValue = Boolean(symbol.flags & ts.SymbolFlags.Value)
    const declaration = symbol.declarations?.[0]
    if (!declaration) throw new Error(`${exported.name} has no declaration`)
    const isOwn = relative(root, declaration.getSourceFile().fileName).startsWith('packages/vm0/')
    return isValue || isOwn ? membersOf(exported.name, declaration, isValue) : []
  })
}

function membersOf(name: string, node: ts.Node, isValue: boolean): DocumentedMember[] {
  const own = documented(name, ts.isVariableDeclaration(node) ? node.parent.parent : node, isValue)
  if (!ts.isClassDeclaration(node)) return [own]
  return [own, ...node.members.flatMap((member) => classMember(name, member))]
}

function classMember(owner: string, member: ts.ClassElement): DocumentedMember[] {
  if (ts.getCombinedModifierFlags(member) & (ts.ModifierFlags.Private | ts.ModifierFlags.Override)) return []
  const isInternal = ts.getJSDocTags(member).some(({ tagName }) => tagName.text === 'internal')
  if (ts.isConstructorDeclaration(member)) {
    const properties = member.parameters.filter(
      (parameter) =>
        ts.isParameterPropertyDeclaration(parameter, member) &&
        !(ts.getCombinedModifierFlags(parameter) & ts.ModifierFlags.Private),
    )
    return [
      ...(isInternal ? [] : [documented(`${owner}.constructor`, member, true)]),
      ...properties.map((property) => documented(`${owner}.${property.name.getText()}`, property, true)),
    ]
  }
  if (isInternal) return []
  const name = `${owner}.${member.name?.getText() ?? ''}`
  const parts =
    ts.isPropertyDeclaration(member) && member.initializer && ts.isObjectLiteralExpression(member.initializer)
      ? member.initializer.properties.map((part) => documented(`${name}.${part.name?.getText() ?? ''}`, part, true))
      : []
  return [documented(name, member, true), ...parts]
}

function documented(name: string, node: ts.Node, isValue: boolean): DocumentedMember {
  const comments = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc)
  const examples = comments
    .flatMap(({ tags }) => [...(tags ?? [])])
    .filter(({ tagName }) => tagName.text === 'example')
    .map(({ comment }) => ts.getTextOfJSDocComment(comment) ?? '')
  const hasText = comments.some(({ comment }) => (ts.getTextOfJSDocComment(comment) ?? '').length > 10)
  return { name, hasText, examples, isValue }
}
