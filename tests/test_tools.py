"""The tools that turn chapters into text, execute them and make Colab's copies."""

import importlib
import json
import os
import re
import shlex
import subprocess
import sys

import keras
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from packaging.requirements import Requirement

for needed in ("jupytext", "nbclient", "pybtex"):  # only the book's environment has them all
    pytest.importorskip(needed)

colab = importlib.import_module("tools.colab")
colab_check = importlib.import_module("tools.colab_check")
conversion = importlib.import_module("tools.conversion")
install = importlib.import_module("tools.install")
execution = importlib.import_module("tools.execution")
notebooks = importlib.import_module("tools.notebooks")
pages = importlib.import_module("tools.pages")
storage = importlib.import_module("tools.storage")

QUICK_PROBE = 'print(\'{"backend": "none", "versions": {}}\')'


@pytest.fixture
def root(tmp_path):
    """An empty book."""
    for folder in ("notebooks", "book/_static", "build/text"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(
        '[project.urls]\nRepository = "https://github.com/a/b"\nDocumentation = "https://b.org/b"\n'
        "[tool.cnnbook]\nreleased = false\n"
    )
    return tmp_path


@pytest.fixture
def quick(monkeypatch):
    """Leaves out the question after Keras's version, which takes seconds."""
    monkeypatch.setattr(execution, "PROBE", QUICK_PROBE)


def write_twin(root, name, text):
    twin = root / "build" / "text" / f"{name}.md"
    twin.parent.mkdir(parents=True, exist_ok=True)
    twin.write_text(text)
    return twin


def store(root, *cells, name="notebooks/01_first.ipynb"):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(storage.serialize(storage.canonical(new_notebook(cells=cells), path.stem)))
    return path


def make_newer(path, other):
    stamp = other.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(stamp, stamp))


def code(source):
    return f"```{{code-cell}}\n{source}\n```\n"


# Text


@pytest.mark.parametrize(
    ("notebook", "twin"),
    [
        ("notebooks/03_pooling.ipynb", "03_pooling.md"),
        ("notebooks/at_scale/resnet.ipynb", "at_scale/resnet.md"),
        ("book/conventions.ipynb", "book/conventions.md"),
    ],
)
def test_every_notebook_has_one_text(root, notebook, twin):
    assert storage.twin_path(root / notebook, root) == root / "build" / "text" / twin
    assert storage.notebook_path(root / "build" / "text" / twin, root) == root / notebook


def test_text_holds_what_the_notebook_holds(root):
    picture = new_code_cell(
        "plot()\n\n%time 1",
        metadata={"tags": ["nbval-ignore-output"], "mystnb": {"image": {"alt": 'a "b": c'}}},
    )
    cells = [new_markdown_cell("# A\n\n$$ x $$ (eq-x)"), new_markdown_cell("b"), picture]
    path = store(root, *cells)
    assert storage.write_text(path, root) == "build/text/01_first.md written."
    twin = storage.twin_path(path, root)
    back = storage.canonical(storage.from_text(twin.read_text()), path.stem)
    assert storage.serialize(back) == path.read_text()
    assert not storage.is_newer(twin, path)


def test_a_newer_text_is_not_overwritten(root):
    path = store(root, new_markdown_cell("old"))
    twin = write_twin(root, "01_first", "edited")
    make_newer(twin, path)
    assert "newer" in storage.write_text(path, root)
    assert twin.read_text() == "edited"


def test_an_older_text_is_overwritten(root):
    twin = write_twin(root, "01_first", "old")
    path = store(root, new_markdown_cell("new"))
    make_newer(path, twin)
    storage.write_text(path, root)
    assert "new" in twin.read_text()


def test_cell_identifiers_follow_the_source():
    def identifiers(*sources):
        cells = [new_markdown_cell(s) for s in sources]
        return [c.id for c in storage.canonical(new_notebook(cells=cells), "x").cells]

    before, after = identifiers("a", "b", "b"), identifiers("a", "new", "b", "b")
    assert len(set(before)) == 3
    assert [i for i in after if i in before] == before
    assert identifiers("a", "b", "b") == before


def test_selection(root):
    paths = [store(root, name=f"notebooks/{n}.ipynb") for n in ("01_first", "03_third")]
    store(root, name="book/conventions.ipynb")
    write_twin(root, "04_fourth", "")
    assert storage.find_notebooks(["3"], root) == paths[1:]
    assert storage.find_notebooks(["01_first"], root) == paths[:1]
    assert len(storage.find_notebooks([], root)) == 3
    assert [p.stem for p in storage.find_notebooks(["04"], root, with_texts=True)] == ["04_fourth"]
    with pytest.raises(storage.NotebookError, match="no notebook '04'"):
        storage.find_notebooks(["04"], root)


# Execution


def test_full_size_notebooks_run_only_by_name(root, quick, capsys):
    path = store(root, new_code_cell("print(6 * 7)"), name="notebooks/at_scale/resnet.ipynb")
    assert notebooks.main(["execute"], root) == 0 and capsys.readouterr().out == ""
    assert notebooks.main(["execute", "resnet"], root) == 0
    assert "42" in path.read_text()


def test_a_full_size_run_is_quoted_on_top():
    cells = [new_markdown_cell("# Title\n\n```text\nnot run yet\n```\nMore.")]
    cells += [new_code_cell("...") for _ in range(2)]
    notebook = new_notebook(cells=cells)
    assert not execution.quote_record(notebook)
    assert "not run yet" in notebook.cells[0].source
    cells[1].outputs = [new_output("stream", name="stdout", text="epoch 1\n")]
    text = "hardware: \\1, 2 cores\ntest accuracy: 80 %\n"
    cells[2].outputs = [new_output("stream", name="stdout", text=text)]
    notebook = new_notebook(cells=cells)
    for _ in range(2):
        assert execution.quote_record(notebook)
        expected = "# Title\n\n```text\nhardware: \\1, 2 cores\ntest accuracy: 80 %\n```\nMore."
        assert notebook.cells[0].source == expected


def test_a_text_becomes_an_executed_notebook(root, quick):
    twin = write_twin(
        root, "01_first", "# A\n\n" + code("print(1)\nprint(2)") + "\n" + code("40 + 2")
    )
    assert notebooks.main(["execute", "1"], root) == 0
    path = root / "notebooks" / "01_first.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert [c.cell_type for c in notebook.cells] == ["markdown", "code", "code"]
    assert [c.execution_count for c in notebook.cells[1:]] == [1, 2]
    assert notebook.cells[1].outputs == [new_output("stream", text="1\n2\n")]
    assert notebook.cells[2].outputs[0].data == {"text/plain": "42"}
    assert path.read_text() == storage.serialize(storage.canonical(notebook, path.stem))
    assert twin.stat().st_mtime_ns == path.stat().st_mtime_ns
    status = json.loads((root / "book" / "_data" / "status.json").read_text())
    record = status["notebooks/01_first"]
    assert record["backend"] == "none"
    assert record["seconds"] > 0
    assert record["cores"] >= 1


def test_a_kernel_says_what_it_ran_on(capsys):
    exec(execution.PROBE, {})
    about = json.loads(capsys.readouterr().out)
    assert about["backend"] == keras.backend.backend()
    assert {"python", "numpy", about["backend"]} <= set(about["versions"])
    assert about["versions"]["keras"] == keras.__version__


def test_an_error_leaves_the_notebook_as_it_was(root, quick, capsys):
    path = store(root, new_markdown_cell("old"))
    before = path.read_bytes()
    twin = write_twin(root, "01_first", code("print(1)") + "\n" + code('raise KeyError("lost")'))
    make_newer(twin, path)
    assert notebooks.main(["execute"], root) == 1
    assert "notebooks/01_first.ipynb: cell 1 fails" in (message := capsys.readouterr().err)
    assert "KeyError: 'lost'" in message
    assert path.read_bytes() == before
    assert storage.is_newer(twin, path)
    assert not (root / "book" / "_data").exists()


def test_a_path_of_the_machine_leaves_the_notebook_as_it_was(root, quick, capsys):
    path = store(root, new_code_cell("import os\nprint(os.getcwd() + os.sep)"))
    before = path.read_bytes()
    assert notebooks.main(["execute"], root) == 1
    assert "the output of cell 0 has the path" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_text_edited_while_it_runs_stays_newer(root, quick):
    touch = "import os, time\ntime.sleep(0.01)\nos.utime('../build/text/01_first.md')"
    twin = write_twin(root, "01_first", code(touch))
    assert notebooks.main(["execute"], root) == 0
    assert storage.is_newer(twin, root / "notebooks" / "01_first.ipynb")


def test_outputs_are_normalized(root):
    log = "I0000 00:00:1795457942.323862   11137 port.cc:153] oneDNN is on.\n"
    outputs = [
        new_output("stream", name="stdout", text="a\n"),
        new_output("stream", name="stderr", text=log),
        new_output("stream", name="stdout", text="b\n"),
        new_output("stream", name="stderr", text=log + "a warning\n"),
    ]
    notebook = new_notebook(cells=[new_code_cell("x", outputs=outputs)])
    execution.normalize_outputs(notebook, "x", root)
    assert [(o.name, o.text) for o in notebook.cells[0].outputs] == [
        ("stdout", "a\nb\n"),
        ("stderr", "a warning\n"),
    ]


# Colab's copies


@pytest.fixture
def book(root):
    (root / "book" / "references.bib").write_text(
        "@article{he2016, author={He, Kaiming and Zhang, X. and Ren, S.}, title={Deep {R}},"
        " journal={J}, year={2016}, doi={10.1/2}}\n"
        '@book{hw, author={H{\\"u}bel, D. and Wiesel, T.}, title={Cats}, year={1962}, '
        "publisher={P}}\n"
    )
    (root / "book" / "_static" / "p.png").write_bytes(b"")
    store(root, new_markdown_cell("(here)=\n# First\n\n$$ a $$ (eq-a)\n\n$$\nb\n$$ (eq-b)"))
    second = "(there)=\n# Second\n\n```{math}\n:label: eq-c\nc\n```"
    store(root, new_markdown_cell(second), name="notebooks/02_second.ipynb")
    return pages.Book.read(root)


def to_colab(book, text):
    converter = conversion.Converter(book, "notebooks/01_first")
    (cell,) = converter.cells([new_markdown_cell(text)])
    assert converter.problems == []
    return cell.source


SECOND = "https://b.org/b/notebooks/02_second.html"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$$ a $$ (eq-a)", r"$$ a \tag{1.1} $$"),
        ("$$\nb\n$$ (eq-b)", "$$\nb \\tag{1.2}\n$$"),
        ("$$ x $$ and $$ a $$ (eq-a)", r"$$ x $$ and $$ a \tag{1.1} $$"),
        ("```{math}\n:label: eq-b\nb\n```", "$$\nb \\tag{1.2}\n$$"),
        ("by {eq}`eq-b`.", "by (1.2)."),
        ("by {eq}`eq-c`.", f"by [(2.1)]({SECOND}#equation-eq-c)."),
        ("{func}`~cnnbook.pooling.max_pool2d`", "`max_pool2d`"),
        ("{func}`cnnbook.pooling.max_pool2d`", "`cnnbook.pooling.max_pool2d`"),
        ("{mod}`the module <cnnbook.pooling>`", "the module"),
        ("{term}`kernel`s, {term}`strides <stride>`", "kernels, strides"),
        ("{cite}`he2016`", "[He et al. (2016)](https://doi.org/10.1/2)"),
        ("{cite:t}`hw`", "Hübel and Wiesel (1962)"),
        (
            "{cite:p}`hw,he2016`",
            "(Hübel and Wiesel, 1962; [He et al., 2016](https://doi.org/10.1/2))",
        ),
        ("{ref}`here`", "First"),
        ("{ref}`there`", f"[Second]({SECOND}#there)"),
        ("{ref}`that <there>`", f"[that]({SECOND}#there)"),
        ("{doc}`02_second`", f"[Second]({SECOND})"),
        ("{doc}`next <02_second>`", f"[next]({SECOND})"),
        ("[next](02_second.ipynb#x)", f"[next]({SECOND}#x)"),
        ("[](02_second.ipynb)", f"[Second]({SECOND})"),
        ("[k](https://keras.io)", "[k](https://keras.io)"),
        ("(here)=\n## A", "## A"),
        ("a\n% secret\nb", "a\nb"),
        ("{math}`x`", "$x$"),
        ("code `{eq}` and $\\hat{y}$", "code `{eq}` and $\\hat{y}$"),
        ("```python\n{'a'}\n# {eq}`b`\n```", "```python\n{'a'}\n# {eq}`b`\n```"),
        ("```{note}\nby {eq}`eq-a`\n\nb\n```", "> **Note**\n>\n> by (1.1)\n>\n> b"),
        (":::{admonition} On `x`\n:class: tip\na\n:::", "> **On `x`**\n>\n> a"),
        ("````{tip}\n```python\nx\n```\n````", "> **Tip**\n>\n> ```python\n> x\n> ```"),
        ("- a\n\n  ```{math}\n  x\n  ```\n- b", "- a\n\n  $$\n  x\n  $$\n- b"),
        ("```{exercise}\n:label: a-1\nby {eq}`eq-a`?\n```", "**Exercise a-1**\n\nby (1.1)?"),
        (":::{exercise} Sum\n:label: a-1\n1 + 1?\n:::", "**Exercise a-1: Sum**\n\n1 + 1?"),
        (
            "```{figure} ../book/_static/p.png\n:alt: Dot\nBy {eq}`eq-a`.\n```",
            "![Dot](https://raw.githubusercontent.com/a/b/main/book/_static/p.png)\n\n*By (1.1).*",
        ),
        (
            "![A](../book/_static/p.png)",
            "![A](https://raw.githubusercontent.com/a/b/main/book/_static/p.png)",
        ),
        (
            "{cite}`hw`\n\n```{bibliography}\n```",
            "Hübel and Wiesel (1962)\n\n- Hübel and Wiesel (1962): Cats",
        ),
    ],
)
def test_myst_reads_well_in_colab(book, text, expected):
    assert to_colab(book, text) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{eq}`eq-none`", "{eq}`eq-none` (no such equation)"),
        ("{ref}`none`", "{ref}`none` (no such label)"),
        ("{cite}`none`", "{cite}`none` (no such reference)"),
        ("{glue:text}`x`", "{glue:text}`x`"),
        ("$x$ and {unknown}`x`", "{unknown}`x`"),
        ("```{mermaid}\na\n```", "directive {mermaid}"),
        ("```{note}\n:::{plot}\n:::\n```", "directive {plot}"),
        ("[a](03_third.ipynb)", "link to 03_third.ipynb (no such file)"),
        ("{{ version }}", "{{ version }}"),
        ("text (a)=\n\n    (b)=\n(c)= d", "(c)="),
        (":::\nstray", ":::"),
        ("```{solution-start} a-1\n```", "a {solution-start} without its {solution-end}"),
    ],
)
def test_what_is_not_resolved_is_named(book, text, named):
    notebook = new_notebook(cells=[new_markdown_cell(text)])
    with pytest.raises(storage.NotebookError) as caught:
        colab.convert(notebook, "notebooks/01_first", book)
    assert named in str(caught.value)
    assert "notebooks/01_first" in str(caught.value)


def test_solutions_are_collapsed(book):
    cells = [
        new_code_cell('check("a-1", None)'),
        new_markdown_cell("```{solution-start} a-1\n:class: dropdown\n```\n\nBecause."),
        new_code_cell('check("a-1", 2)', metadata={"tags": ["x"]}),
        new_markdown_cell("Q.\n\n```{solution-end}\n```\n\nAfter."),
        new_code_cell("after"),
    ]
    copy = colab.convert(new_notebook(cells=cells), "notebooks/01_first", book)
    pointer, install, question, words, solution, end, after = copy.cells
    assert "https://b.org/b/notebooks/01_first.html" in pointer.source
    assert install.source.endswith('%pip install -q "cnnbook @ git+https://github.com/a/b"')
    assert question.source == 'check("a-1", None)'
    assert words.source == "<details><summary>Solution</summary>\n\nBecause.\n\n</details>"
    assert solution.source == '#@title Solution { display-mode: "form" }\ncheck("a-1", 2)'
    assert solution.metadata == {"cellView": "form"}
    assert end.source == "<details><summary>Solution</summary>\n\nQ.\n\n</details>\n\nAfter."
    assert after.source == "after"
    nbformat.validate(copy)


def test_a_chapter_that_writes_files_installs_what_it_needs(book):
    cells = [new_code_cell("import keras\nfrom cnnbook.deployment import (\n    latency,\n)")]
    copy = colab.convert(new_notebook(cells=cells), "notebooks/01_first", book)
    wanted = '%pip install -q "cnnbook[deploy] @ git+https://github.com/a/b"'
    assert copy.cells[1].source.endswith(wanted)


def test_the_command_fails_and_writes_nothing_where_myst_is_left(root, book, capsys):
    store(root, new_markdown_cell("# First\n\n{unknown}`x`"))
    assert notebooks.main(["colab"], root) == 1
    assert "{unknown}`x`" in capsys.readouterr().err
    assert sorted(p.name for p in (root / "build" / "colab").iterdir()) == ["02_second.ipynb"]


def test_the_book_is_read_once_for_all_copies(root, book, monkeypatch, capsys):
    read, opened = nbformat.read, []
    monkeypatch.setattr(nbformat, "read", lambda p, **kw: opened.append(p.stem) or read(p, **kw))
    assert notebooks.main(["colab"], root) == 0
    assert sorted(opened) == ["01_first", "02_second"]
    assert capsys.readouterr().out.count(" written.") == 2


# Installing


@pytest.mark.parametrize(
    ("released", "extras", "wanted"),
    [
        (True, [], "cnnbook"),
        (True, ["tensorflow", "deploy"], '"cnnbook[tensorflow,deploy]"'),
        (False, [], '"cnnbook @ git+https://github.com/a/b"'),
        (False, ["jax"], '"cnnbook[jax] @ git+https://github.com/a/b"'),
    ],
)
def test_one_switch_says_where_the_package_is(released, extras, wanted):
    urls = {"Repository": "https://github.com/a/b"}
    pyproject = {"project": {"urls": urls}, "tool": {"cnnbook": {"released": released}}}
    assert install.requirement(pyproject, *extras) == wanted
    (requirement,) = shlex.split(wanted)
    assert Requirement(requirement).extras == set(extras)


def test_readme_introduction_and_colab_say_alike_how_to_install():
    pyproject = install.read_pyproject()
    wanted = install.requirement(pyproject, "tensorflow")
    for page in ("README.md", "book/intro.md"):
        text = (storage.ROOT / page).read_text("utf-8")
        assert re.findall(r"^ *pip install .*", text, re.M) == [f"pip install {wanted}"], page
    extras = pyproject["project"]["optional-dependencies"]
    named = re.findall(r"\[([a-z,]+)\]", install.commands(pyproject))
    assert {e for names in named for e in names.split(",")} <= set(extras) | {"tensorflow"}


# The modules of the tools


LONG = {"mutants"}  # is to be split
TOOLS = sorted(p.stem for p in (storage.ROOT / "tools").glob("[!_]*.py"))


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_has_one_subject(name):
    lines = (storage.ROOT / "tools" / f"{name}.py").read_text("utf-8").splitlines()
    assert len(lines) < 260 or name in LONG


def test_the_tools_import_where_there_is_no_fcntl():
    code = "import sys; sys.modules['fcntl'] = None; sys.modules['resource'] = None\n"
    names = [n for n in TOOLS if n not in ("colab_check", "mutants")]
    code += "".join(f"import tools.{name}\n" for name in names)
    done = subprocess.run(
        [sys.executable, "-c", f"import filelock, nbclient\n{code}"],
        cwd=storage.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


# Colab's environment


def test_installing_the_wheel_may_only_add_the_package():
    before = {"keras==3.13.2", "numpy==2.1.3"}
    colab_check.assert_only_cnnbook_was_added(before, before | {"cnnbook==0.1.0"})
    for after in (
        before,
        before | {"cnnbook==0.1.0", "six==1"},
        {"keras==3.15.1", "numpy==2.1.3", "cnnbook==0.1.0"},
        {"numpy==2.1.3", "cnnbook==0.1.0"},
    ):
        with pytest.raises(colab_check.CheckError, match="changes packages"):
            colab_check.assert_only_cnnbook_was_added(before, after)
    extra = before | {"cnnbook==0.1.0", "onnx==1"}
    colab_check.assert_nothing_was_changed(before, extra)
    with pytest.raises(colab_check.CheckError, match="changes packages"):
        colab_check.assert_nothing_was_changed(before, extra - {"keras==3.13.2"})


def test_colab_is_given_every_test_of_the_package(tmp_path):
    chosen = [p.stem for p in colab_check.choose_tests(storage.ROOT / "tests")]
    assert {"test_convolution", "test_quantization", "test_quantize_aware"} <= set(chosen)
    there = {p.stem for p in (storage.ROOT / "tests").glob("test_*.py")}
    assert there - set(chosen) == colab_check.OF_THE_REPOSITORY & there
    with pytest.raises(colab_check.CheckError, match="no tests of the package"):
        colab_check.choose_tests(tmp_path)


def test_a_module_run_as_a_command_knows_its_own_errors(root, book):
    command = [sys.executable, "-m", "tools.notebooks", "colab", "none"]
    result = subprocess.run(command, cwd=storage.ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (1, "there is no notebook 'none'.\n")


def test_a_missing_python_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    with pytest.raises(colab_check.CheckError, match=r"no python3\.13 on PATH"):
        colab_check.find_python()
