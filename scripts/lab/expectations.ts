/** What must hold for a run to have succeeded. */

export interface Expectation {
  readonly name: string;
  readonly ok: boolean;
  /** What was seen. */
  readonly detail: string;
}

export class Expectations {
  private readonly list: Expectation[] = [];

  /** @param told called with each one, as it is known */
  constructor(private readonly told: (expectation: Expectation) => void) {}

  expect(name: string, ok: boolean, detail: string): void {
    const expectation = { name, ok, detail };
    this.list.push(expectation);
    this.told(expectation);
  }

  /** Texts that must be the same. */
  same(name: string, found: string, wanted: string): void {
    this.expect(name, found === wanted, found === wanted ? found : `found\n${found}\nwanted\n${wanted}`);
  }

  get all(): readonly Expectation[] {
    return this.list;
  }

  get failed(): readonly Expectation[] {
    return this.list.filter(each => !each.ok);
  }
}
