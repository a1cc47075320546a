// The policy editor: CodeMirror in a shadow root, where its styles are adopted style sheets. A page
// whose content security policy has no 'unsafe-inline' lets those through, and <style> not.

import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { json } from "@codemirror/lang-json";
import {
  HighlightStyle,
  StreamLanguage,
  bracketMatching,
  indentUnit,
  syntaxHighlighting,
} from "@codemirror/language";
import { toml } from "@codemirror/legacy-modes/mode/toml";
import { lintGutter, setDiagnostics, type Diagnostic } from "@codemirror/lint";
import { Compartment, EditorState } from "@codemirror/state";
import {
  EditorView,
  drawSelection,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { isJson, type Range } from "./locate.js";

const colours = HighlightStyle.define([
  { tag: tags.comment, color: "var(--syntax-comment)", fontStyle: "italic" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--syntax-string)" },
  { tag: [tags.number, tags.bool, tags.atom, tags.null], color: "var(--syntax-number)" },
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--syntax-key)" },
  { tag: [tags.heading, tags.keyword], color: "var(--syntax-table)", fontWeight: "600" },
]);

const theme = EditorView.theme({
  "&": { height: "100%", color: "var(--ink)", backgroundColor: "var(--field)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", fontSize: "12.5px", lineHeight: "1.5" },
  ".cm-content": { padding: "8px 0", caretColor: "var(--ink)" },
  ".cm-cursor, .cm-dropCursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": {
    backgroundColor: "transparent",
    color: "var(--faint)",
    border: "none",
    paddingLeft: "4px",
  },
  ".cm-activeLine": { backgroundColor: "var(--active-line)" },
  ".cm-activeLineGutter": { backgroundColor: "transparent", color: "var(--ink)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": {
    background: "var(--selection)",
  },
  ".cm-selectionBackground": { background: "var(--selection)" },
  "&.cm-focused .cm-matchingBracket": { background: "var(--selection)" },
  ".cm-gutter-lint": { width: "14px" },
  ".cm-gutter-lint .cm-gutterElement": { padding: "0" },
  ".cm-lint-marker": { width: "10px", height: "10px", padding: "4px 0 0 2px" },
  ".cm-tooltip": {
    backgroundColor: "var(--panel)",
    color: "var(--ink)",
    border: "1px solid var(--line-strong)",
  },
  ".cm-diagnostic": { fontFamily: "var(--sans)", fontSize: "12.5px" },
});

export interface Mark extends Range {
  severity: "error" | "warning";
  message: string;
}

export class Editor {
  #view: EditorView;
  #language = new Compartment();
  #isJson = false;

  constructor(host: HTMLElement, label: string, onInput: () => void) {
    const root = host.attachShadow({ mode: "open" });
    this.#view = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        extensions: [
          lineNumbers(),
          lintGutter(),
          highlightActiveLine(),
          highlightActiveLineGutter(),
          drawSelection(),
          history(),
          bracketMatching(),
          indentUnit.of("  "),
          // Tab is not bound: it leaves the editor, as it leaves any field.
          // Ctrl+Enter is the page's.
          keymap.of([{ key: "Mod-Enter", run: () => true }, ...defaultKeymap, ...historyKeymap]),
          this.#language.of(StreamLanguage.define(toml)),
          syntaxHighlighting(colours),
          theme,
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({
            "aria-label": label,
            spellcheck: "false",
            tabindex: "0",
          }),
          EditorView.updateListener.of((update) => {
            if (!update.docChanged) return;
            this.#chooseLanguage();
            onInput();
          }),
        ],
      }),
    });
  }

  get text(): string {
    return this.#view.state.doc.toString();
  }

  set text(text: string) {
    this.#view.dispatch({ changes: { from: 0, to: this.#view.state.doc.length, insert: text } });
  }

  #chooseLanguage(): void {
    const now = isJson(this.text);
    if (now === this.#isJson) return;
    this.#isJson = now;
    const language = now ? json() : StreamLanguage.define(toml);
    // An update must have ended before the next one is dispatched.
    queueMicrotask(() => {
      this.#view.dispatch({ effects: this.#language.reconfigure(language) });
    });
  }

  mark(marks: readonly Mark[]): void {
    const length = this.#view.state.doc.length;
    const diagnostics: Diagnostic[] = marks.map((mark) => ({
      from: Math.min(mark.from, length),
      to: Math.min(mark.to, length),
      severity: mark.severity,
      message: mark.message,
    }));
    this.#view.dispatch(setDiagnostics(this.#view.state, diagnostics));
  }

  /** Selects this part and shows it. */
  goTo(range: Range): void {
    const { from, to } = range;
    this.#view.dispatch({ selection: { anchor: from, head: to }, scrollIntoView: true });
    this.#view.focus();
  }

  lineOf(position: number): number {
    const doc = this.#view.state.doc;
    return doc.lineAt(Math.min(position, doc.length)).number;
  }
}
