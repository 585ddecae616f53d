import { posix } from 'node:path'
import { Vm0Error } from '@vm0/contract'
import type { BuildStep } from '../recipe-steps.js'
import { parseTemplate } from '../wanted-template.js'
import { copyStep } from './copy.js'
import { invalid, parseDockerfile, type Instruction } from './parse.js'
import { expand, jsonList, splitWords } from './words.js'

/** What a Dockerfile asks for. */
export interface DockerfilePlan {
  /** The template below. */
  from: string
  steps: BuildStep[]
  /** Of ENV: for sessions, too. */
  env: Record<string, string>
  /** Whether files of the folder are wanted. */
  usesContext: boolean
  /** Instructions that say something of a container's start, which a template has none of. */
  passedOver: string[]
}

/** They say how a container is started, or are for people. */
const withoutMeaning = ['CMD', 'ENTRYPOINT', 'EXPOSE', 'HEALTHCHECK', 'LABEL', 'MAINTAINER', 'STOPSIGNAL', 'VOLUME']
const served = ['FROM', 'RUN', 'COPY', 'ADD', 'ENV', 'ARG', 'WORKDIR', 'SHELL', 'USER', ...withoutMeaning]

/** Reads a Dockerfile: what is to be done, in order. Throws DOCKERFILE_INVALID with the line. */
export function planDockerfile(text: string, buildArgs: Readonly<Record<string, string>> = {}): DockerfilePlan {
  return new Planner(buildArgs).plan(parseDockerfile(text))
}

class Planner {
  private readonly result: DockerfilePlan = { from: '', steps: [], env: {}, usesContext: false, passedOver: [] }
  /** Of ARG: for the build only. Those before FROM are known to FROM alone, until they are named again. */
  private args: Record<string, string> = {}
  private globalArgs: Record<string, string> = {}
  private cwd = '/'
  private shell = ['/bin/sh', '-c']

  constructor(private readonly buildArgs: Readonly<Record<string, string>>) {}

  plan(instructions: readonly Instruction[]): DockerfilePlan {
    for (const each of instructions) this.take(each)
    if (!this.result.from)
      throw new Vm0Error('DOCKERFILE_INVALID', 'the Dockerfile has no FROM; expected one, such as FROM standard')
    return this.result
  }

  private get variables(): Record<string, string> {
    return { ...this.args, ...this.result.env }
  }

  private take(instruction: Instruction): void {
    const { name, rest, line } = instruction
    if (!served.includes(name)) throw invalid(line, `${name} is not served; expected one of ${served.join(', ')}`)
    if (!this.result.from && name !== 'FROM' && name !== 'ARG') throw invalid(line, `${name} comes before FROM`)
    if (!rest.trim()) throw invalid(line, `${name} says nothing`)
    if (withoutMeaning.includes(name)) {
      if (!this.result.passedOver.includes(name)) this.result.passedOver.push(name)
    } else if (name === 'FROM') this.from(instruction)
    else if (name === 'RUN') this.run(instruction)
    else if (name === 'COPY' || name === 'ADD') this.copy(instruction)
    else if (name === 'ENV') this.env(instruction)
    else if (name === 'ARG') this.arg(instruction)
    else if (name === 'WORKDIR') this.workdir(instruction)
    else if (name === 'USER') this.user(instruction)
    else this.setShell(instruction)
  }

  private from({ flags, rest, line }: Instruction): void {
    if (this.result.from) throw invalid(line, 'a second FROM is not served: there is one stage only')
    for (const flag of flags.keys()) throw invalid(line, `FROM --${flag} is not served`)
    const [wanted = '', as, stage, ...more] = splitWords(expand(rest, this.globalArgs, line), line)
    if ((as !== undefined && (as.toUpperCase() !== 'AS' || !stage)) || more.length > 0)
      throw invalid(line, `FROM ${rest}: expected FROM TEMPLATE`)
    if (wanted === 'scratch')
      throw invalid(line, 'FROM scratch is not served: steps need a shell', 'Begin with FROM standard.')
    if (!parseTemplate(wanted))
      throw invalid(
        line,
        `FROM ${wanted} names no template; expected standard, NAME, NAME@VERSION or a digest`,
        'An image of a registry is brought in first: `skopeo copy docker://IMAGE oci-archive:FILE`, then `vm0 templates build NAME --image FILE`.',
      )
    this.result.from = wanted
  }

  private run({ flags, rest, line }: Instruction): void {
    for (const flag of flags.keys()) throw invalid(line, `RUN --${flag} is not served`)
    const command = jsonList(rest) ?? [...this.shell, rest]
    this.step({ text: `RUN ${rest}`, line, command, cwd: this.cwd, env: this.variables })
  }

  private copy(instruction: Instruction): void {
    const { name, rest } = instruction
    const { cwd, variables } = this
    this.result.usesContext = true
    this.step(copyStep(instruction, { cwd, variables, text: `${name} ${rest}` }))
  }

  private env({ rest, line }: Instruction): void {
    const words = splitWords(expand(rest, this.variables, line), line)
    const [first = ''] = words
    // The old form: one name, then all the rest.
    const pairs = first.includes('=')
      ? words.map((word) => pairOf(word, line))
      : [pairOf(`${first}=${expand(rest.slice(first.length).trim(), this.variables, line)}`, line)]
    for (const [name, value] of pairs) this.result.env[name] = value
  }

  private arg({ rest, line }: Instruction): void {
    for (const word of splitWords(expand(rest, this.result.from ? this.variables : this.globalArgs, line), line)) {
      const [name, value] = pairOf(word.includes('=') ? word : `${word}=`, line)
      const given = Object.hasOwn(this.buildArgs, name) ? this.buildArgs[name] : undefined
      const preset = word.includes('=') ? value : this.result.from ? this.globalArgs[name] : undefined
      const known = given ?? preset
      const scope = this.result.from ? this.args : this.globalArgs
      if (known !== undefined) scope[name] = known
    }
  }

  private workdir({ rest, line }: Instruction): void {
    this.cwd = posix.resolve(this.cwd, expand(rest, this.variables, line))
    this.step({ text: `WORKDIR ${rest}`, line, command: ['mkdir', '-p', '--', this.cwd], cwd: '/', env: {} })
  }

  private user({ rest, line }: Instruction): void {
    const user = expand(rest, this.variables, line)
    if (!/^(?:root|0)(?::(?:root|0))?$/.test(user))
      throw invalid(
        line,
        `USER ${user} is not served: steps and agents are root of their sandbox`,
        'Use `su` or `setpriv` in RUN.',
      )
  }

  private setShell({ rest, line }: Instruction): void {
    const list = jsonList(rest)
    if (!list) throw invalid(line, 'SHELL: expected a list, such as ["/bin/bash", "-c"]')
    this.shell = list
  }

  private step(step: BuildStep): void {
    this.result.steps.push(step)
  }
}

function pairOf(word: string, line: number): [name: string, value: string] {
  const at = word.indexOf('=')
  const name = word.slice(0, at)
  if (at < 1 || !/^[A-Za-z_]\w*$/.test(name))
    throw invalid(
      line,
      `${JSON.stringify(word.slice(0, 80))}: expected NAME=VALUE, and a name of letters, digits and _`,
    )
  return [name, word.slice(at + 1)]
}
