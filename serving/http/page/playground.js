// A query, its answer, and one item followed through the stages.
import { authorization, sendsJson } from "./access.js";
import * as show from "./format.js";

const STAGES = {
  index: "Index",
  filter: "Filter",
  exclusion: "Seen or excluded",
  probe: "Probed clusters",
  search: "int8 search",
  value: "Value Model",
};
const FIELDS = { user: "", where: "", weights: "", k: "10", item: "" };

export function playground() {
  return {
    ...FIELDS,
    seen: false,
    examples: null,
    problem: "",
    answer: null,
    explanation: null,
    unexplained: "",

    init() {
      this.restore();
      sendsJson(this.$refs.ask, {
        body: () => this.query(),
        done: (status, answer) => this.answered(status, answer),
      });
      sendsJson(this.$refs.explain, {
        body: () => ({ ...this.query(), item: this.item.trim() }),
        done: (status, answer) => this.explained(status, answer),
      });
      document.addEventListener("silverjax:key", () => this.learn());
      this.learn();
    },

    // What can be asked: suggestions, and a first query that has an answer.
    async learn() {
      try {
        const got = await fetch("/v1/examples", { headers: authorization() });
        if (got.status === 401 || got.status === 403) this.$store.access.wanted = true;
        if (!got.ok) return;
        this.examples = await got.json();
        this.k = String(Math.min(Number(this.k) || 10, this.examples.largest_k));
        if (location.search) this.$nextTick(() => this.$refs.ask.requestSubmit());
      } catch {
        // Suggestions are not needed to ask; a server that is gone is told of elsewhere.
      }
    },

    query() {
      return {
        user: this.user.trim() || null,
        where: this.where,
        weights: this.weights,
        k: Number(this.k) || null,
        exclude_seen: !this.seen,
      };
    },

    answered(status, answer) {
      const wrong = this.wrong(status, answer);
      this.problem = wrong;
      this.answer = wrong ? null : answer;
      this.explanation = null;
      this.unexplained = "";
      this.remember();
      if (!wrong && this.item) this.$refs.explain.requestSubmit();
    },

    explained(status, answer) {
      this.unexplained = this.wrong(status, answer);
      this.explanation = this.unexplained ? null : answer;
      this.remember();
    },

    wrong(status, answer) {
      if (status === 200) return "";
      if (status === 401) this.$store.access.wanted = true;
      return answer.error;
    },

    // Asked by a click on an item of the answer.
    follow(item) {
      this.item = item;
      this.$nextTick(() => this.$refs.explain.requestSubmit());
    },

    add(feature, value) {
      const word = /^[\w.-]+$/.test(value) ? value : JSON.stringify(value);
      const term = `${feature}:${word}`;
      this.where = this.where.trim() ? `${this.where.trim()} AND ${term}` : term;
    },

    remember() {
      const given = Object.keys(FIELDS).filter((name) => this[name] !== "" && this[name] !== FIELDS[name]);
      const state = new URLSearchParams(given.map((name) => [name, this[name]]));
      if (this.seen) state.set("seen", "1");
      history.replaceState(null, "", state.size ? `?${state}` : location.pathname);
    },

    restore() {
      const state = new URLSearchParams(location.search);
      for (const name of Object.keys(FIELDS)) this[name] = state.get(name) ?? FIELDS[name];
      this.seen = state.get("seen") === "1";
    },

    get features() {
      return Object.entries(this.examples?.features ?? {}).map(([name, values]) => ({ name, values }));
    },
    get users() {
      return this.examples?.some_users ?? [];
    },
    get tasks() {
      return this.examples ? `tasks: ${this.examples.tasks.join(", ")}` : "";
    },
    get rows() {
      return (this.answer?.items ?? []).map((item, at) => ({
        ...item,
        rank: at + 1,
        title: item.title || item.item,
        value: show.precise(item.value),
        chances: Object.values(item.probabilities).map(show.precise),
        similarity: item.similarity.toFixed(3),
      }));
    },
    get heads() {
      return Object.keys(this.answer?.items[0]?.probabilities ?? {});
    },
    get nothing() {
      return this.answer !== null && this.answer.items.length === 0;
    },
    get summary() {
      const { items, coverage, cold_start: cold, funnel, snapshot_version: version } = this.answer;
      const who = cold ? "A stranger: cold start. " : "";
      return (
        `${who}${items.length} items from ${funnel.candidates} candidates; ` +
        `${(100 * coverage).toFixed(1)} % of the items searched; snapshot ${version}.`
      );
    },
    get verdict() {
      const { returned, place, dropped_by: stage } = this.explanation;
      return returned ? `Returned, at place ${place}.` : `Dropped: ${STAGES[stage]}.`;
    },
    get steps() {
      return this.explanation.stages.map(({ stage, kept, why }) => ({
        stage,
        name: STAGES[stage],
        mark: kept === null ? "not reached" : kept ? "kept" : "dropped",
        class: kept === null ? "unreached" : kept ? "kept" : "dropped",
        why,
      }));
    },
    get terms() {
      return this.explanation.clauses.map((clause, at) => ({
        key: at,
        clause: clause.clause,
        holds: clause.holds ? "holds" : "fails",
        has: clause.item_has.join(", ") || "no value",
      }));
    },
    get shares() {
      return this.explanation.tasks.map((task) => ({
        task: task.task,
        probability: show.precise(task.probability),
        weight: show.given(task.weight),
        product: show.precise(task.product),
        power: task.power ? `probability ^ ${show.given(task.power)}` : "",
      }));
    },
    get worth() {
      return show.precise(this.explanation.value);
    },
  };
}
