import type { Vm0Event } from '@vm0/contract'

/** Of one text, and of all of a run: a page must open in a mail. */
const maxTextChars = 20_000
const maxAllChars = 8 * 1024 ** 2

export interface CallText {
  input: string
  output: string | undefined
  /** Characters of the output that are left out in its middle. */
  cut: number
}

/** What was asked of tools and what they said, for a page: ends are kept, middles of long ones are not. */
export class CallTexts {
  private readonly texts = new Map<string, CallText>()
  private chars = 0
  /** There was more than a page has room for. */
  full = false

  add(event: Vm0Event): void {
    if (event.type === 'tool.started') {
      const input = inputText(event.input)
      this.keep(event.toolId, { input: input.slice(0, maxTextChars), output: undefined, cut: 0 })
    }
    const text = event.type === 'tool.finished' && this.texts.get(event.toolId)
    if (!text) return
    const { output } = event
    const half = maxTextChars / 2
    text.cut = Math.max(0, output.length - maxTextChars)
    text.output = text.cut > 0 ? `${output.slice(0, half)}\n…\n${output.slice(-half)}` : output
    this.chars += text.output.length
  }

  of(toolId: string): CallText | undefined {
    return this.texts.get(toolId)
  }

  private keep(toolId: string, text: CallText): void {
    this.full ||= this.chars > maxAllChars
    if (this.full) return
    this.chars += text.input.length
    this.texts.set(toolId, text)
  }
}

/** A command as one would type it; other inputs as they are. */
function inputText(input: unknown): string {
  const command = (input as { command?: unknown } | null)?.command
  return typeof command === 'string' ? `$ ${command}` : (JSON.stringify(input, null, 2) ?? '')
}
